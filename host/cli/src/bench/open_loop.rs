//! The open loop: requests are sent when they are due, over as many connections as are free.
//!
//! ```text
//! each connection:  claim the next instant -> wait for it -> send -> read the answer -> count
//! ```
//!
//! A free connection claims the next instant of the schedule before it has come; a connection that
//! becomes free later claims one that has passed, and sends at once. So instants are served in
//! their order, idle connections in turn, and nothing is queued.

use std::iter::Peekable;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};

use super::answer::Answer;
use super::connection::{Connection, NoAnswer};
use super::generator::{GeneratorMeter, GeneratorUse};
use super::schedule::{Arrivals, Rate, Schedule};
use super::tally::Tally;
use super::target::Target;
use super::timer::Timer;

/// The time between two looks at what was measured so far.
const TICK: Duration = Duration::from_millis(100);

/// The time after which a server that takes no connection has ended.
const GONE_AFTER: Duration = Duration::from_secs(1);

/// A load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) rate: Rate,
    pub(crate) arrivals: Arrivals,
    pub(crate) connections: usize,
    /// The time before the window. Requests that are due in it don't count.
    pub(crate) warm_up: Duration,
    /// The time in which requests are due that count.
    pub(crate) window: Duration,
    /// The longest time to wait for an answer.
    pub(crate) timeout: Duration,
    /// The longest time to wait for outstanding answers after the window.
    pub(crate) grace: Duration,
}

/// The end of a load before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// By Ctrl-C.
    Interrupted,
    /// The server takes no connections any more.
    ServerGone,
}

/// The measurements of a load.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) tally: Tally,
    /// The time from the start of the window to the last answer, or to the end.
    pub(crate) measured: Duration,
    pub(crate) stop: Option<Stop>,
    pub(crate) generator: GeneratorUse,
}

/// Follows a load while it runs.
pub(crate) trait Observer {
    /// The warm-up has ended.
    fn begin(&mut self);

    /// Called some times a second, with the time since the start of the load and what was measured
    /// so far.
    fn tick(&mut self, elapsed: Duration, tally: &Tally);
}

/// Ctrl-C, which ends the load instead of the process.
pub(crate) struct Interrupt(Signal);

impl Interrupt {
    /// Catches the signal from now on. Must be called on an event loop.
    pub(crate) fn catch() -> anyhow::Result<Self> {
        Ok(Self(signal(SignalKind::interrupt()).context("cannot catch signals")?))
    }

    async fn received(&mut self) {
        self.0.recv().await;
    }
}

/// The state that the connections share.
struct Shared {
    target: Arc<Target>,
    plan: Plan,
    start: Instant,
    state: Mutex<State>,
}

struct State {
    /// The instants that no connection has claimed.
    schedule: Peekable<Schedule>,
    /// The instant that each connection has claimed and not answered.
    claimed: Vec<Option<Duration>>,
    tally: Tally,
    generator: GeneratorMeter,
    /// The end of the last answer.
    last: Duration,
    /// The first connection that the server didn't take, unless it has answered since.
    gone_since: Option<Instant>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next instant. `None` if all were taken.
    fn claim(&self, connection: usize) -> Option<Duration> {
        let state = &mut *self.state();
        state.claimed[connection] = state.schedule.next();
        state.claimed[connection]
    }

    /// Counts a request that has ended.
    fn count(&self, connection: usize, due: Duration, outcome: Result<Answer, Missing>) {
        let now = self.start.elapsed();
        let state = &mut *self.state();
        state.claimed[connection] = None;
        match &outcome {
            Ok(_) => state.gone_since = None,
            Err(Missing::Connection(NoAnswer::Unreachable(_))) => {
                state.gone_since.get_or_insert_with(Instant::now);
            }
            Err(Missing::Connection(NoAnswer::BrokenOff(_)) | Missing::Timeout) => {}
        }
        if due < self.plan.warm_up {
            return;
        }
        let latency = now.saturating_sub(due);
        state.last = now;
        match outcome {
            Ok(answer) => state.tally.answered(answer, latency),
            Err(Missing::Timeout) => state.tally.timed_out(latency),
            Err(Missing::Connection(NoAnswer::Unreachable(_))) => state.tally.failed("no-connection"),
            Err(Missing::Connection(NoAnswer::BrokenOff(_))) => state.tally.failed("broken-connection"),
        }
    }
}

/// The reason for a missing answer.
enum Missing {
    Connection(NoAnswer),
    Timeout,
}

/// Runs a load.
///
/// # Errors
/// Returns an error if the server takes no connection at the start.
pub(crate) async fn run(
    target: &Arc<Target>,
    plan: Plan,
    interrupt: &mut Interrupt,
    observer: &mut dyn Observer,
) -> anyhow::Result<Run> {
    let mut connections = Vec::with_capacity(plan.connections);
    for _ in 0..plan.connections {
        let mut connection = Connection::default();
        timeout(plan.timeout, connection.open(target)).await.context("the server doesn't answer")??;
        connections.push((connection, Timer::new().context("cannot create a timer")?));
    }
    let end = plan.warm_up + plan.window;
    let state = State {
        schedule: Schedule::new(plan.rate, plan.arrivals, end).peekable(),
        claimed: vec![None; plan.connections],
        tally: Tally::new(),
        generator: GeneratorMeter::start(),
        last: Duration::ZERO,
        gone_since: None,
    };
    let start = Instant::now();
    let shared = Arc::new(Shared { target: Arc::clone(target), plan, start, state: Mutex::new(state) });
    let mut senders = JoinSet::new();
    for (index, (connection, timer)) in connections.into_iter().enumerate() {
        senders.spawn(send_when_due(Arc::clone(&shared), index, connection, timer));
    }

    let at = |offset| sleep_until((start + offset).into());
    let (mut window, mut cut) = (std::pin::pin!(at(plan.warm_up)), std::pin::pin!(at(end + plan.grace)));
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut has_begun = false;
    let stop = loop {
        tokio::select! {
            ended = senders.join_next() => match ended {
                Some(ended) => ended.context("a connection of the load failed")??,
                None => break None,
            },
            () = interrupt.received() => break Some(Stop::Interrupted),
            () = &mut window, if !has_begun => {
                has_begun = true;
                shared.state().generator.restart();
                observer.begin();
            }
            () = &mut cut => break None,
            _ = ticks.tick() => {
                let state = shared.state();
                observer.tick(start.elapsed(), &state.tally);
                if state.gone_since.is_some_and(|since| since.elapsed() >= GONE_AFTER) {
                    break Some(Stop::ServerGone);
                }
            }
        }
    };
    senders.shutdown().await;

    let now = start.elapsed();
    let state = &mut *shared.state();
    let unclaimed = std::iter::from_fn(|| state.schedule.next_if(|due| *due <= now));
    let outstanding = state.claimed.iter().copied().flatten().filter(|due| *due <= now).chain(unclaimed);
    for due in outstanding.filter(|due| *due >= plan.warm_up) {
        state.tally.unanswered(now - due);
    }
    let last = match stop {
        None if state.tally.unanswered == 0 => state.last.max(end),
        None | Some(_) => now,
    };
    let tally = state.tally.clone();
    let generator = state.generator.finish(tally.latencies.percentile(99.0));
    Ok(Run { tally, measured: last.saturating_sub(plan.warm_up), stop, generator })
}

/// Sends requests over one connection until no instant is left.
async fn send_when_due(
    shared: Arc<Shared>,
    index: usize,
    mut connection: Connection,
    mut timer: Timer,
) -> anyhow::Result<()> {
    let (start, target, plan) = (shared.start, &*shared.target, &shared.plan);
    while let Some(due) = shared.claim(index) {
        let is_free = start.elapsed() <= due;
        timer.sleep_until(start + due).await.context("cannot wait for an instant")?;
        if due >= plan.warm_up {
            let lag = start.elapsed().saturating_sub(due);
            let state = &mut *shared.state();
            match is_free {
                true => state.generator.record_lag(lag),
                false => state.tally.queued += 1,
            }
        }
        let outcome = match timeout(plan.timeout, connection.exchange(target)).await {
            Ok(outcome) => outcome.map_err(Missing::Connection),
            Err(_) => Err(Missing::Timeout),
        };
        let failed = outcome.is_err();
        shared.count(index, due, outcome);
        if failed {
            // A refused connection fails without waiting for anything.
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
