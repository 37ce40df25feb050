//! Calls one after the other, before a search: they load the function, and show how long it takes.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::connection::Connection;
use super::schedule::Rate;
use super::target::Target;

/// The most calls.
const CALLS_MAX: usize = 1000;

/// The time of single calls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pilot {
    /// No load is answered faster.
    pub(crate) fastest: Duration,
    /// The rate at which one connection would be busy half of the time.
    pub(crate) rate: Rate,
}

impl Pilot {
    /// Calls the function for `time`, at least once.
    ///
    /// # Errors
    /// Returns an error if a call isn't answered within `call_max`.
    pub(crate) async fn run(target: &Target, time: Duration, call_max: Duration) -> anyhow::Result<Self> {
        let (mut connection, started, mut took) = (Connection::default(), Instant::now(), Vec::new());
        while took.is_empty() || started.elapsed() < time && took.len() < CALLS_MAX {
            let sent = Instant::now();
            let answered = timeout(call_max, connection.exchange(target)).await;
            answered
                .map_err(|_| anyhow::anyhow!("a call took longer than {} s", call_max.as_secs_f64()))??;
            took.push(sent.elapsed());
        }
        took.sort_unstable();
        let median = took[took.len() / 2];
        Ok(Self { fastest: took[0], rate: Rate::nearest(0.5 / median.as_secs_f64().max(1e-6)) })
    }
}
