//! The journal of systemd: lines that begin with their priority (`sd-daemon(3)`), so that
//! `journalctl -p warning` finds warnings.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The variable in which systemd gives the device and the inode of the journal's stream.
const STREAM: &str = "JOURNAL_STREAM";

/// Returns whether stderr goes to the journal.
pub(super) fn is_stderr() -> bool {
    let Ok(journal) = std::env::var(STREAM) else { return false };
    // A service may have redirected stderr since.
    rustix::fs::fstat(std::io::stderr())
        .is_ok_and(|stderr| journal == format!("{}:{}", stderr.st_dev, stderr.st_ino))
}

/// Formats an event behind its priority.
pub(super) struct WithPriority<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for WithPriority<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // The levels of syslog(3).
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(context, writer, event)
    }
}
