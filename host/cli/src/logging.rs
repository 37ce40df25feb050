//! The log of a server: its events on stderr, and the access log on stdout.
//!
//! ```text
//! events (tracing) -> filter -> text | JSON --\
//! requests (Observer) -> access_log ----------+-> line_queue -> stderr | stdout
//! ```
//!
//! Invariants:
//! * A thread that logs doesn't wait for the reader of stderr or stdout. Lines that the queue has no
//!   room for are lost, and a later line tells how many.
//! * Without events nothing runs: the thread that writes sleeps.
//! * An event is one line, whatever is in it, and no part of it controls the terminal.

mod access_log;
mod filter;
mod journal;
mod line;
mod line_queue;

use std::io;
use std::sync::Arc;

use anyhow::Context;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry};

use self::access_log::{AccessLogger, LineFormat};
pub(crate) use self::filter::CallEvents;
use self::journal::WithPriority;
pub(crate) use self::line_queue::LineQueue;
use self::line_queue::QueueGuard;
use crate::args::{AccessLog, LogArgs, LogFormat, Switch};

/// The log of a running server. Dropping it writes the lines that wait, for a moment at most.
pub(crate) struct ServerLog {
    stderr: LineQueue,
    access_log: Option<Arc<AccessLogger>>,
    _queues: Vec<QueueGuard>,
}

impl ServerLog {
    /// Starts to log. Call it once in a process.
    ///
    /// # Errors
    /// If the filter is wrong, or if a thread can't start.
    pub(crate) fn start(arguments: &LogArgs, calls: CallEvents) -> anyhow::Result<Self> {
        let LogArgs { log_format, access_log, access_log_sample, guest_log } = *arguments;
        let filter = filter::from_environment(calls, guest_log == Switch::On)?;
        let lost = match log_format {
            LogFormat::Text => line::lost_as_text,
            LogFormat::Json => line::lost_as_json,
        };
        let (stderr, guard) = LineQueue::start("nebula-log", io::stderr(), lost)?;
        let mut queues = vec![guard];
        let writer = EventWriter { queue: stderr.clone(), format: log_format };
        let layer = tracing_subscriber::fmt::layer().with_writer(writer);
        let is_journal = journal::is_stderr();
        let layer: Box<dyn Layer<Registry> + Send + Sync> = match log_format {
            LogFormat::Text if is_journal => layer.with_ansi(false).map_event_format(WithPriority).boxed(),
            LogFormat::Text => layer.with_ansi(has_colours()).boxed(),
            LogFormat::Json => {
                let layer = layer.json().flatten_event(true).with_current_span(true).with_span_list(false);
                if is_journal { layer.map_event_format(WithPriority).boxed() } else { layer.boxed() }
            }
        };
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter));
        tracing::subscriber::set_global_default(subscriber).context("something else logs already")?;
        let format = match access_log {
            AccessLog::Off => None,
            AccessLog::Text => Some((LineFormat::Text, line::lost_as_text as fn(u64) -> String)),
            AccessLog::Json => Some((LineFormat::Json, line::lost_as_json as fn(u64) -> String)),
        };
        let access_log = match format {
            None => None,
            Some((format, lost)) => {
                let (stdout, guard) = LineQueue::start("nebula-access", io::stdout(), lost)?;
                queues.push(guard);
                Some(Arc::new(AccessLogger::new(format, access_log_sample, stdout)))
            }
        };
        Ok(Self { stderr, access_log, _queues: queues })
    }

    /// Returns the queue of lines to stderr.
    pub(crate) fn stderr(&self) -> &LineQueue {
        &self.stderr
    }

    /// Writes the access log of a server, if it is on.
    pub(crate) fn observe(&self, server: &mut nebula_http::Server) {
        if let Some(access_log) = &self.access_log {
            server.observe(access_log.clone());
        }
    }
}

/// Returns whether stderr shows colours: it is a terminal, and no variable says otherwise.
fn has_colours() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

/// Puts the lines of events into the queue.
struct EventWriter {
    queue: LineQueue,
    format: LogFormat,
}

/// Writes one event.
struct EventLine<'a>(&'a EventWriter);

impl<'a> MakeWriter<'a> for EventWriter {
    type Writer = EventLine<'a>;

    fn make_writer(&'a self) -> EventLine<'a> {
        EventLine(self)
    }
}

impl io::Write for EventLine<'_> {
    /// Takes an event, which comes whole, with its line feed.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        self.0.queue.push(match self.0.format {
            LogFormat::Text => line::escape_text(text),
            LogFormat::Json => line::escape_json(text),
        });
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
