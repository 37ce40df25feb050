//! Asks a server for its stats in each interval, on a thread of its own: a server that doesn't answer
//! must not hold up the keys.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use nebula_http::wire::Stats;

use crate::args::Remote;
use crate::client::Client;

/// The time after which a server that doesn't answer is asked again.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the answer to one question in each interval, or the error of the request. The first is asked
/// after one interval. The thread ends when the receiver is dropped.
///
/// # Errors
/// If the system refuses the thread.
pub(crate) fn poll(remote: Remote, interval: Duration) -> anyhow::Result<Receiver<anyhow::Result<Stats>>> {
    let (sender, receiver) = channel();
    let ask = move || {
        let client = Client::new(&remote).within(TIMEOUT);
        let mut due = Instant::now();
        loop {
            // Questions that were missed while the server didn't answer aren't made up for.
            due = (due + interval).max(Instant::now());
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if sender.send(client.stats()).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("nebula-top".to_owned()).spawn(ask).context("cannot start a thread")?;
    Ok(receiver)
}
