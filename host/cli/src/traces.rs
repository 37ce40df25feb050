//! The export of a server's traces, if the environment asks for it.

use nebula_http::Server;
use nebula_otlp::{Configured, Exporter, LostSpans, OtlpConfig};
use tracing::warn;

use crate::report::hinted;

/// The target of events about the export.
const TRACE: &str = "nebula::trace";

/// The export of traces. It may be off.
pub(crate) struct Traces(Option<Exporter>);

impl Traces {
    /// Starts the export that the environment asks for.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let read = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        let configured = OtlpConfig::from_environment(read);
        let Configured { config, warnings } = configured.map_err(|error| {
            let hint = error.hint();
            anyhow::Error::new(error).context(hinted("cannot export traces", hint))
        })?;
        for warning in warnings {
            warn!(target: TRACE, "{warning}");
        }
        let started = config.map(|config| Exporter::start(config, report)).transpose();
        Ok(Self(started.map_err(|error| anyhow::Error::new(error).context("cannot export traces"))?))
    }

    /// Traces the requests to a server.
    pub(crate) fn observe(&self, server: &mut Server) {
        if let Some(exporter) = &self.0 {
            server.trace(exporter.tracer().clone());
        }
    }

    /// Exports the last spans.
    pub(crate) fn stop(self) {
        if let Some(exporter) = self.0 {
            exporter.stop();
        }
    }
}

/// Logs that spans were lost.
fn report(lost: &LostSpans) {
    warn!(target: TRACE, "{lost}");
}
