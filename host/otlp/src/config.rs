//! The configuration: the standard environment variables of OpenTelemetry.
//!
//! A variable that is empty counts as not set. As the specification requires, a value that isn't known
//! or isn't a number is reported and ignored. A value without which spans would go nowhere, or to the
//! wrong place, is an error: an endpoint, headers or a certificate that can't be used.

mod endpoint;
mod pairs;
#[cfg(test)]
mod tests;

use std::fs;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use nebula_telemetry::trace::{QueueLimits, RootSampler, SampledShare, Sampler};

pub(crate) use self::endpoint::{Endpoint, Protocol};
use self::pairs::pairs;
use crate::transport::{TlsError, Trust};
use crate::wire::SpanLimits;

/// The name of the service, unless the environment has one.
const SERVICE_NAME: &str = "nebula";

/// The longest time of one attempt to deliver a batch, unless the environment has one.
const TIMEOUT_MS: u64 = 10_000;
/// The longest time to deliver a batch.
const EXPORT_TIMEOUT_MS: u64 = 30_000;
/// The time that a span waits for others.
const SCHEDULE_DELAY_MS: u64 = 5_000;
/// The most spans that wait.
const QUEUE_SPANS_MAX: u64 = 2_048;
/// The most spans in a batch.
const BATCH_SPANS_MAX: u64 = 512;
/// The most attributes of a span.
const ATTRIBUTES_MAX: u64 = 128;

/// The export of spans, as the environment asks for it.
#[derive(Debug)]
pub struct OtlpConfig {
    pub(crate) endpoint: Endpoint,
    pub(crate) headers: HeaderMap,
    pub(crate) compresses: bool,
    pub(crate) trust: Trust,
    pub(crate) timeout: Duration,
    pub(crate) export_timeout: Duration,
    pub(crate) resource: Vec<(String, String)>,
    pub(crate) sampler: Sampler,
    pub(crate) queue: QueueLimits,
    pub(crate) limits: SpanLimits,
}

/// The configuration with what is wrong about it.
#[derive(Debug)]
pub struct Configured {
    /// `None` if the environment doesn't ask for an export.
    pub config: Option<OtlpConfig>,
    /// The values that are ignored, for the operator.
    pub warnings: Vec<String>,
}

/// A value of the environment that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The endpoint isn't a URL.
    #[error("`{variable}` is not the URL of a collector: {reason}")]
    Endpoint {
        /// The variable.
        variable: &'static str,
        /// What is wrong about it.
        reason: &'static str,
    },
    /// The headers aren't pairs. Their values aren't shown: they may be credentials.
    #[error("`{variable}` is not a list of `name=value`, separated by commas: pair {pair} is wrong")]
    Headers {
        /// The variable.
        variable: &'static str,
        /// The number of the pair, from 1.
        pair: usize,
    },
    /// A file with a certificate or a key can't be used.
    #[error("the file that `{variable}` names can't be used: {reason}")]
    File {
        /// The variable.
        variable: &'static str,
        /// The reason.
        reason: String,
    },
    /// TLS can't be set up for the endpoint.
    #[error("cannot prepare TLS for the collector: {0}")]
    Tls(String),
}

impl ConfigError {
    /// Returns what to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Endpoint { .. } => {
                "for example `http://localhost:4318`, or `http://localhost:4317` for gRPC"
            }
            Self::Headers { .. } => "for example `api-key=secret,tenant=a`, with values percent-encoded",
            Self::File { .. } => "give the path of a file in PEM",
            Self::Tls(_) => {
                "install the package `ca-certificates`, or name the collector's CA in `OTEL_EXPORTER_OTLP_CERTIFICATE`"
            }
        }
    }
}

/// Reads variables and collects warnings.
struct Environment<'a> {
    read: &'a dyn Fn(&str) -> Option<String>,
    warnings: Vec<String>,
}

/// A value with the variable that has it.
struct Setting {
    variable: &'static str,
    value: String,
}

/// The variables of a setting of the exporter: that for traces, and that for all signals.
macro_rules! exporter_variables {
    ($name:literal) => {
        [concat!("OTEL_EXPORTER_OTLP_TRACES_", $name), concat!("OTEL_EXPORTER_OTLP_", $name)]
    };
}

impl OtlpConfig {
    /// Reads the environment with `read`.
    ///
    /// # Errors
    /// [`ConfigError`] for the first value that can't be used.
    pub fn from_environment(read: impl Fn(&str) -> Option<String>) -> Result<Configured, ConfigError> {
        let mut environment = Environment { read: &read, warnings: Vec::new() };
        let config = environment.config()?;
        Ok(Configured { config, warnings: environment.warnings })
    }
}

impl Environment<'_> {
    fn config(&mut self) -> Result<Option<OtlpConfig>, ConfigError> {
        if self.flag("OTEL_SDK_DISABLED") || !self.is_wanted() {
            return Ok(None);
        }
        let sampler = self.sampler();
        if sampler.is_off() {
            return Ok(None);
        }
        let endpoint = self.endpoint()?;
        let batch_max = self.positive("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", BATCH_SPANS_MAX);
        let spans_max = self.positive("OTEL_BSP_MAX_QUEUE_SIZE", QUEUE_SPANS_MAX);
        let timeout =
            exporter_variables!("TIMEOUT").into_iter().find(|variable| self.text(variable).is_some());
        let timeout_ms = timeout.map_or(TIMEOUT_MS, |variable| self.positive(variable, TIMEOUT_MS));
        let trust = self.trust(&endpoint)?;
        Ok(Some(OtlpConfig {
            headers: self.headers()?,
            compresses: self.compresses(),
            trust,
            timeout: Duration::from_millis(timeout_ms),
            export_timeout: Duration::from_millis(
                self.positive("OTEL_BSP_EXPORT_TIMEOUT", EXPORT_TIMEOUT_MS),
            ),
            resource: self.resource(),
            sampler,
            queue: QueueLimits {
                spans_max: count(spans_max),
                // A batch isn't larger than the queue.
                batch_max: count(batch_max.min(spans_max)),
                delay: Duration::from_millis(
                    self.number("OTEL_BSP_SCHEDULE_DELAY").unwrap_or(SCHEDULE_DELAY_MS),
                ),
            },
            limits: self.limits(),
            endpoint,
        }))
    }

    /// Returns a variable that is set and not empty.
    fn text(&self, variable: &str) -> Option<String> {
        (self.read)(variable).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    /// Returns the first of these variables that is set.
    fn first(&self, variables: [&'static str; 2]) -> Option<Setting> {
        variables.into_iter().find_map(|variable| Some(Setting { variable, value: self.text(variable)? }))
    }

    fn warn(&mut self, variable: &str, value: &str, expected: &str) {
        self.warnings.push(format!("`{variable}` is ignored: expected {expected}, found `{value}`"));
    }

    /// Returns whether a variable is `true`, in any case.
    fn flag(&mut self, variable: &str) -> bool {
        match self.text(variable) {
            Some(text) if text.eq_ignore_ascii_case("true") => true,
            Some(text) if !text.eq_ignore_ascii_case("false") => {
                self.warn(variable, &text, "`true` or `false`");
                false
            }
            Some(_) | None => false,
        }
    }

    fn number(&mut self, variable: &str) -> Option<u64> {
        let text = self.text(variable)?;
        let number = text.parse().ok();
        if number.is_none() {
            self.warn(variable, &text, "a whole number that isn't negative");
        }
        number
    }

    fn positive(&mut self, variable: &str, default: u64) -> u64 {
        let number = self.number(variable);
        if number == Some(0) {
            self.warn(variable, "0", "a whole number above 0");
        }
        number.filter(|number| *number > 0).unwrap_or(default)
    }

    /// Returns whether spans are to be exported: with an endpoint, or the word.
    fn is_wanted(&mut self) -> bool {
        const EXPORTER: &str = "OTEL_TRACES_EXPORTER";
        match self.text(EXPORTER) {
            None => self.first(exporter_variables!("ENDPOINT")).is_some(),
            Some(list) => {
                let mut is_wanted = false;
                for name in list.split(',').map(str::trim) {
                    match name {
                        "otlp" => is_wanted = true,
                        "none" | "" => {}
                        other => self.warn(EXPORTER, other, "`otlp` or `none`"),
                    }
                }
                is_wanted
            }
        }
    }

    fn protocol(&mut self) -> Protocol {
        let Some(Setting { variable, value }) = self.first(exporter_variables!("PROTOCOL")) else {
            return Protocol::Http;
        };
        match value.as_str() {
            "grpc" => Protocol::Grpc,
            "http/protobuf" => Protocol::Http,
            other => {
                self.warn(variable, other, "`grpc` or `http/protobuf`");
                Protocol::Http
            }
        }
    }

    fn endpoint(&mut self) -> Result<Endpoint, ConfigError> {
        let protocol = self.protocol();
        let [of_traces, of_all] = exporter_variables!("ENDPOINT");
        let insecure =
            exporter_variables!("INSECURE").into_iter().find(|variable| self.text(variable).is_some());
        let is_insecure = insecure.is_some_and(|variable| self.flag(variable));
        let endpoint = match (self.text(of_traces), self.text(of_all)) {
            (Some(url), _) => (of_traces, Endpoint::of_traces(&url, protocol, is_insecure)),
            (None, Some(url)) => (of_all, Endpoint::of_all_signals(&url, protocol, is_insecure)),
            (None, None) => (of_all, Endpoint::of_all_signals(protocol.default_url(), protocol, is_insecure)),
        };
        let (variable, endpoint) = endpoint;
        endpoint.map_err(|reason| ConfigError::Endpoint { variable, reason })
    }

    fn headers(&mut self) -> Result<HeaderMap, ConfigError> {
        let mut headers = HeaderMap::new();
        // Those for traces take precedence over those for all signals.
        let [of_traces, of_all] = exporter_variables!("HEADERS");
        for variable in [of_all, of_traces] {
            let Some(text) = self.text(variable) else { continue };
            let wrong = |pair| ConfigError::Headers { variable, pair };
            for (index, (name, value)) in pairs(&text).map_err(wrong)?.into_iter().enumerate() {
                let name = HeaderName::try_from(name).map_err(|_| wrong(index + 1))?;
                let mut value = HeaderValue::try_from(value).map_err(|_| wrong(index + 1))?;
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        Ok(headers)
    }

    fn compresses(&mut self) -> bool {
        let Some(Setting { variable, value }) = self.first(exporter_variables!("COMPRESSION")) else {
            return false;
        };
        if !matches!(value.as_str(), "gzip" | "none") {
            self.warn(variable, &value, "`gzip` or `none`");
        }
        value == "gzip"
    }

    fn trust(&mut self, endpoint: &Endpoint) -> Result<Trust, ConfigError> {
        if !endpoint.is_secure {
            return Ok(Trust::Plain);
        }
        type NamedFile = (&'static str, Vec<u8>);
        let file = |variables: [&'static str; 2]| -> Result<Option<NamedFile>, ConfigError> {
            let Some(Setting { variable, value }) = self.first(variables) else { return Ok(None) };
            let read = fs::read(&value);
            let read = read.map_err(|error| ConfigError::File { variable, reason: error.to_string() })?;
            Ok(Some((variable, read)))
        };
        let ca = file(exporter_variables!("CERTIFICATE"))?;
        let key = file(exporter_variables!("CLIENT_KEY"))?;
        let certificate = file(exporter_variables!("CLIENT_CERTIFICATE"))?;
        let bytes = |file: &Option<NamedFile>| file.as_ref().map(|(_, bytes)| bytes.clone());
        let own = bytes(&certificate).zip(bytes(&key));
        let trust = Trust::tls(bytes(&ca).as_deref(), own, endpoint.protocol == Protocol::Grpc);
        trust.map_err(|error| {
            let of = |file: &Option<NamedFile>| file.as_ref().map(|(variable, _)| *variable);
            match error {
                TlsError::Ca(reason) => match of(&ca) {
                    Some(variable) => ConfigError::File { variable, reason },
                    None => ConfigError::Tls(reason),
                },
                TlsError::Own(reason) => match of(&certificate) {
                    Some(variable) => ConfigError::File { variable, reason },
                    None => ConfigError::Tls(reason),
                },
            }
        })
    }

    fn resource(&mut self) -> Vec<(String, String)> {
        const ATTRIBUTES: &str = "OTEL_RESOURCE_ATTRIBUTES";
        let mut attributes = Vec::new();
        let mut set = |key: &str, value: String| {
            attributes.retain(|(other, _): &(String, String)| other != key);
            attributes.push((key.to_owned(), value));
        };
        set("service.name", SERVICE_NAME.to_owned());
        set("service.version", env!("CARGO_PKG_VERSION").to_owned());
        set("service.instance.id", instance_id());
        set("telemetry.sdk.name", "nebula".to_owned());
        set("telemetry.sdk.language", "rust".to_owned());
        set("telemetry.sdk.version", env!("CARGO_PKG_VERSION").to_owned());
        if let Some(text) = self.text(ATTRIBUTES) {
            match pairs(&text) {
                Ok(pairs) => pairs.into_iter().for_each(|(key, value)| set(&key, value)),
                // One wrong pair invalidates all, because its end isn't known.
                Err(pair) => self.warnings.push(format!(
                    "`{ATTRIBUTES}` is ignored: expected `key=value`, separated by commas, and pair {pair} is wrong"
                )),
            }
        }
        if let Some(name) = self.text("OTEL_SERVICE_NAME") {
            set("service.name", name);
        }
        attributes
    }

    fn sampler(&mut self) -> Sampler {
        const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
        let name = self.text(SAMPLER).unwrap_or_else(|| "parentbased_always_on".to_owned());
        let (follows_parent, of_roots) = match name.strip_prefix("parentbased_") {
            Some(of_roots) => (true, of_roots),
            None => (false, name.as_str()),
        };
        let root = match of_roots {
            "always_on" => RootSampler::Always,
            "always_off" => RootSampler::Never,
            "traceidratio" => self.share(),
            _ => {
                let expected =
                    "`always_on`, `always_off` or `traceidratio`, or one of them after `parentbased_`";
                self.warn(SAMPLER, &name, expected);
                return Sampler { root: RootSampler::Always, follows_parent: true };
            }
        };
        Sampler { root, follows_parent }
    }

    /// Returns the share of traces to sample; all, without a valid one.
    fn share(&mut self) -> RootSampler {
        const SHARE: &str = "OTEL_TRACES_SAMPLER_ARG";
        let Some(text) = self.text(SHARE) else { return RootSampler::Always };
        match text.parse().ok().and_then(SampledShare::new) {
            Some(share) => RootSampler::Share(share),
            None => {
                self.warn(SHARE, &text, "a number from 0 to 1");
                RootSampler::Always
            }
        }
    }

    fn limits(&mut self) -> SpanLimits {
        let of_spans = self.number("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT");
        let attributes = of_spans.or_else(|| self.number("OTEL_ATTRIBUTE_COUNT_LIMIT"));
        let of_spans = self.number("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT");
        let chars = of_spans.or_else(|| self.number("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT"));
        SpanLimits {
            attributes_max: count(attributes.unwrap_or(ATTRIBUTES_MAX)),
            text_chars_max: chars.map(count),
        }
    }
}

/// Returns a new id of this process: a random UUID (RFC 9562 §5.4).
fn instance_id() -> String {
    let mut bytes = [0; 16];
    // Without random numbers, all processes have the same id.
    let _ = getrandom::fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = format!("{:032x}", u128::from_be_bytes(bytes));
    let [a, b, c, d, e] = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    format!("{a}-{b}-{c}-{d}-{e}")
}

fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
