//! One attempt to deliver a batch: the request of a protocol, and what the answer means.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::{BufMut, Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use prost::Message;

use crate::config::{OtlpConfig, Protocol};
use crate::transport::{Answer, exchange};
use crate::wire::{ExportResponse, RpcStatus};

/// The length of the prefix of a gRPC message: whether it is compressed, and its length.
const GRPC_PREFIX_BYTES: usize = 5;

/// The longest reason of a collector that is shown, characters.
const REASON_CHARS_MAX: usize = 200;

/// Binary headers of gRPC, which may lack the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The result of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// The collector has taken the spans, except for some.
    Taken { rejected: u64, reason: String },
    /// The collector may take the spans later.
    Later {
        /// The time that the collector asks for.
        after: Option<Duration>,
        reason: String,
    },
    /// The collector never takes these spans.
    Refused { reason: String },
}

/// The body of a batch's requests.
#[derive(Clone)]
pub(crate) struct Payload(Bytes);

impl Payload {
    /// Encodes a message.
    ///
    /// # Errors
    /// If it is over 4 GiB or can't be compressed.
    pub(crate) fn new(message: &impl Message, config: &OtlpConfig) -> io::Result<Self> {
        let mut encoded = message.encode_to_vec();
        if config.compresses {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&encoded)?;
            encoded = encoder.finish()?;
        }
        Ok(Self(match config.endpoint.protocol {
            Protocol::Http => encoded.into(),
            Protocol::Grpc => {
                let length = u32::try_from(encoded.len()).map_err(io::Error::other)?;
                let mut framed = BytesMut::with_capacity(GRPC_PREFIX_BYTES + encoded.len());
                framed.put_u8(config.compresses.into());
                framed.put_u32(length);
                framed.put_slice(&encoded);
                framed.freeze()
            }
        }))
    }
}

/// Sends a payload once, within `timeout`.
pub(crate) async fn attempt(config: &OtlpConfig, payload: &Payload, timeout: Duration) -> Delivery {
    let request = request(config, payload, timeout);
    match exchange(&config.endpoint, &config.trust, request, timeout).await {
        Err(error) => Delivery::Later { after: None, reason: error_text(&*error) },
        Ok(answer) => match config.endpoint.protocol {
            Protocol::Http => of_http(&answer),
            Protocol::Grpc => of_grpc(&answer),
        },
    }
}

/// Returns an error with its causes.
fn error_text(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn request(config: &OtlpConfig, payload: &Payload, timeout: Duration) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(payload.0.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = config.endpoint.uri.clone();
    let headers = request.headers_mut();
    // Those of the environment come first, so that they can't break the protocol.
    headers.extend(config.headers.clone());
    let agent = concat!("nebula/", env!("CARGO_PKG_VERSION"));
    headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(agent));
    let gzip = config.compresses.then_some(HeaderValue::from_static("gzip"));
    match config.endpoint.protocol {
        Protocol::Http => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
            headers.extend(gzip.map(|gzip| (header::CONTENT_ENCODING, gzip)));
        }
        Protocol::Grpc => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
            // At most eight digits.
            let timeout = format!("{}m", timeout.as_millis().min(99_999_999));
            headers.extend(timeout.parse().ok().map(|timeout| ("grpc-timeout", timeout)).map(named));
            headers.extend(gzip.map(|gzip| ("grpc-encoding", gzip)).map(named));
        }
    }
    request
}

fn named((name, value): (&'static str, HeaderValue)) -> (header::HeaderName, HeaderValue) {
    (header::HeaderName::from_static(name), value)
}

/// Reads the answer of a collector over HTTP.
fn of_http(answer: &Answer) -> Delivery {
    let status = answer.status;
    if status.is_success() {
        return taken(&answer.body);
    }
    let message = RpcStatus::decode(&*answer.body).map(|status| status.message).unwrap_or_default();
    let reason = reason(&format!("the collector answered {status}"), &message);
    if is_temporary(status) {
        return Delivery::Later { after: retry_after(&answer.headers), reason };
    }
    Delivery::Refused { reason }
}

/// Reads the answer of a collector over gRPC.
fn of_grpc(answer: &Answer) -> Delivery {
    // An answer without a body has the status among its headers.
    let field = |name: &str| answer.trailers.get(name).or_else(|| answer.headers.get(name))?.to_str().ok();
    let Some(code) = field("grpc-status").and_then(|code| code.parse::<u32>().ok()) else {
        let reason = format!("the collector answered {} without a gRPC status", answer.status);
        return if is_temporary(answer.status) {
            Delivery::Later { after: None, reason }
        } else {
            Delivery::Refused { reason }
        };
    };
    if code == 0 {
        return taken(answer.body.get(GRPC_PREFIX_BYTES..).unwrap_or_default());
    }
    let details = field("grpc-status-details-bin").and_then(|text| BASE64.decode(text).ok());
    let status = details.and_then(|details| RpcStatus::decode(&*details).ok());
    let after = status.as_ref().and_then(RpcStatus::retry_delay);
    let message =
        field("grpc-message").map(|text| percent_encoding::percent_decode_str(text).decode_utf8_lossy());
    let reason =
        reason(&format!("the collector answered the gRPC status {code}"), &message.unwrap_or_default());
    // CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE and DATA_LOSS;
    // RESOURCE_EXHAUSTED only with a time.
    match code {
        1 | 4 | 10 | 11 | 14 | 15 => Delivery::Later { after, reason },
        8 if after.is_some() => Delivery::Later { after, reason },
        _ => Delivery::Refused { reason },
    }
}

/// Reads what the collector says about spans that it has taken.
fn taken(body: &[u8]) -> Delivery {
    let partial = ExportResponse::decode(body).ok().and_then(|response| response.partial_success);
    let Some(partial) = partial else { return Delivery::Taken { rejected: 0, reason: String::new() } };
    let rejected = u64::try_from(partial.rejected_spans).unwrap_or(0);
    Delivery::Taken { rejected, reason: reason("the collector refused spans", &partial.error_message) }
}

/// Returns whether a request with this answer is sent again, as OTLP says.
fn is_temporary(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// Returns the time of a `Retry-After` (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Joins what happened with the collector's own words, which may be any text.
fn reason(what: &str, message: &str) -> String {
    let message: String = message.chars().filter(|char| !char.is_control()).take(REASON_CHARS_MAX).collect();
    if message.is_empty() { what.to_owned() } else { format!("{what}: {message}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        let after = |value: &str| {
            let value = HeaderValue::from_str(value).unwrap();
            retry_after(&HeaderMap::from_iter([(header::RETRY_AFTER, value)]))
        };
        assert_eq!(after("0"), Some(Duration::ZERO));
        assert_eq!(after("120"), Some(Duration::from_secs(120)));
        assert_eq!(after("18446744073709551615"), Some(Duration::from_secs(u64::MAX)));
        for invalid in ["18446744073709551616", "-1", "1.5", "soon", ""] {
            assert_eq!(after(invalid), None, "{invalid}");
        }
        assert_eq!(after("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        let distant = after("Fri, 31 Dec 9999 23:59:59 GMT").unwrap();
        assert!(distant > Duration::from_secs(1 << 32), "{distant:?}");
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }
}
