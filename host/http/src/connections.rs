//! The open connections of one thread: counted, bounded, and closed when inactive.
//!
//! ```text
//! slot -> open --(a request)--> busy --(its answer)--> open --(inactive for a while)--> closed
//! ```
//!
//! One check of all connections, every [`ROUND`], replaces a timer for each request. It closes a
//! connection on which no request has begun or ended for [`IDLE_ROUNDS_MAX`] whole rounds. This
//! covers a client that sends nothing, sends its headers one byte at a time, keeps an idle
//! connection open or doesn't read its answer. `body` has the timeout for a body that doesn't
//! arrive.
//!
//! When the server stops, each connection drains: it closes once its requests are answered. A
//! connection checks a flag for this whenever it is polled. hyper-util's own watch would be one
//! more future to poll with every request.
//!
//! Invariant: while no connection is open, no timer runs.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

use crate::request_tally::{RequestCounts, RequestTally};

/// The time between two checks of all connections.
const ROUND: Duration = Duration::from_secs(15);

/// The most rounds in a row for which a connection may be inactive. The next one closes it: after
/// 75 to 90 s, or 60 to 75 s if it never had a request.
const IDLE_ROUNDS_MAX: u32 = 4;

/// The connections of one thread.
#[derive(Clone)]
pub(crate) struct Connections {
    connections_max: u32,
    slots: Arc<Semaphore>,
    open: Arc<Mutex<OpenConnections>>,
    traffic: Traffic,
    tally: Arc<RequestTally>,
}

/// The connections of one or several threads at a moment, and their counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnectionUsage {
    pub(crate) open: u64,
    pub(crate) connections_max: u64,
    pub(crate) requests_in_flight: u64,
    pub(crate) counts: RequestCounts,
}

/// The count of connections of a whole server, over all threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic(Arc<ConnectionCounts>);

#[derive(Debug, Default)]
struct ConnectionCounts {
    opened: AtomicU64,
    closed: AtomicU64,
}

impl Traffic {
    /// Waits until no connection was open for at least `idle`, at most twice as long.
    pub(crate) async fn wait_until_idle(&self, idle: Duration) {
        let mut opened_before = None;
        loop {
            tokio::time::sleep(idle).await;
            let closed = self.0.closed.load(Ordering::SeqCst);
            let opened = self.0.opened.load(Ordering::SeqCst);
            if opened == closed && opened_before == Some(opened) {
                return;
            }
            // If the count is the same after the next sleep, no connection was open in between.
            opened_before = (opened == closed).then_some(opened);
        }
    }

    /// Counts a connection until the returned value is dropped, which an aborted task does too.
    fn count_connection(&self) -> ConnectionGuard {
        self.0.opened.fetch_add(1, Ordering::SeqCst);
        ConnectionGuard(self.clone())
    }
}

/// The connections that are open, and some that have closed since the last round.
#[derive(Default)]
struct OpenConnections {
    connections: Vec<Connection>,
    /// Set while the task that checks them runs.
    is_watched: bool,
}

/// One connection, as the checks see it.
struct Connection {
    state: Arc<ConnectionState>,
    task: AbortHandle,
    idle_rounds: u32,
}

/// The activity of a connection, and its flag to drain. Only one thread writes it.
#[derive(Default)]
struct ConnectionState {
    requests_in_flight: AtomicU32,
    /// Set when a request ends, cleared by each round.
    was_active: AtomicBool,
    /// Tells the connection to drain.
    draining: AtomicBool,
    /// Wakes the connection's task, so that it sees `draining`.
    waker: Mutex<Option<Waker>>,
    /// The counts of the thread.
    tally: Arc<RequestTally>,
}

/// A slot for one connection.
pub(crate) struct ConnectionSlot {
    permit: OwnedSemaphorePermit,
    state: Arc<ConnectionState>,
    connections: Connections,
}

/// Counts the requests in flight of one connection.
#[derive(Clone, Default)]
pub(crate) struct RequestCounter(Arc<ConnectionState>);

/// A counted request. It is in flight until this is dropped.
pub(crate) struct RequestGuard {
    state: Arc<ConnectionState>,
    started: Instant,
}

/// A counted connection of [`Traffic`]. It is open until this is dropped.
struct ConnectionGuard(Traffic);

impl Connections {
    /// Creates the set of a thread, with at most `connections_max` connections.
    pub(crate) fn new(connections_max: u32, traffic: Traffic) -> Self {
        let slots = Arc::new(Semaphore::new(connections_max as usize));
        Self { connections_max, slots, open: Arc::default(), traffic, tally: Arc::default() }
    }

    /// Waits for a free slot.
    pub(crate) async fn acquire_slot(&self) -> ConnectionSlot {
        loop {
            // It fails only if the semaphore is closed, and nothing closes it.
            if let Ok(permit) = Arc::clone(&self.slots).acquire_owned().await {
                let state = ConnectionState::new(Arc::clone(&self.tally));
                return ConnectionSlot { permit, state: Arc::new(state), connections: self.clone() };
            }
        }
    }

    /// Tells every connection to close once its requests are answered, and waits until all are
    /// closed.
    pub(crate) async fn drain(&self) {
        for connection in &self.lock().connections {
            connection.state.drain();
        }
        // It fails only if the semaphore is closed, and nothing closes it.
        let _ = self.slots.acquire_many(self.connections_max).await;
    }

    /// Returns the counts of the thread.
    pub(crate) fn tally(&self) -> &RequestTally {
        &self.tally
    }

    /// Adds the connections and requests of this thread.
    pub(crate) fn add_to(&self, usage: &mut ConnectionUsage) {
        usage.connections_max += u64::from(self.connections_max);
        for Connection { state, task, .. } in &self.lock().connections {
            if !task.is_finished() {
                usage.open += 1;
                usage.requests_in_flight += u64::from(state.requests_in_flight.load(Ordering::Relaxed));
            }
        }
        self.tally.add_to(&mut usage.counts);
    }

    fn lock(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks all connections every [`ROUND`], until none is open.
    async fn watch(self) {
        loop {
            tokio::time::sleep(ROUND).await;
            let mut open = self.lock();
            open.connections.retain_mut(Connection::check);
            if open.connections.is_empty() {
                open.is_watched = false;
                return;
            }
        }
    }
}

impl ConnectionState {
    fn new(tally: Arc<RequestTally>) -> Self {
        Self {
            requests_in_flight: AtomicU32::new(0),
            was_active: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            waker: Mutex::default(),
            tally,
        }
    }

    fn lock_waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the connection to drain, and wakes its task.
    fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        if let Some(waker) = self.lock_waker().take() {
            waker.wake();
        }
    }

    /// Runs `connection` until it closes. Calls `start_drain` once, after [`drain`](Self::drain).
    async fn run<C: Future>(&self, connection: C, start_drain: fn(Pin<&mut C>)) {
        let mut connection = pin!(connection);
        let (mut has_waker, mut is_draining) = (false, false);
        poll_fn(|context| {
            // A task has the same waker in every poll.
            if !std::mem::replace(&mut has_waker, true) {
                *self.lock_waker() = Some(context.waker().clone());
            }
            if self.draining.load(Ordering::Acquire) && !std::mem::replace(&mut is_draining, true) {
                // Poll first: part of a request that was held back is in flight afterwards.
                if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                    return Poll::Ready(ended);
                }
                start_drain(connection.as_mut());
            }
            connection.as_mut().poll(context)
        })
        .await;
    }
}

impl Connection {
    /// Closes the connection if it has been inactive for too long, and returns whether it is still
    /// open. Called once a round.
    fn check(&mut self) -> bool {
        if self.task.is_finished() {
            return false;
        }
        let was_active = self.state.was_active.swap(false, Ordering::Relaxed);
        if was_active || self.state.requests_in_flight.load(Ordering::Relaxed) > 0 {
            self.idle_rounds = 0;
            return true;
        }
        self.idle_rounds += 1;
        if self.idle_rounds > IDLE_ROUNDS_MAX {
            self.task.abort();
            return false;
        }
        true
    }
}

impl ConnectionSlot {
    /// Returns the counter of the connection's requests.
    pub(crate) fn requests(&self) -> RequestCounter {
        RequestCounter(Arc::clone(&self.state))
    }

    /// Runs the connection in a task until it closes or a check closes it. `start_drain` makes it
    /// close once its requests are answered.
    pub(crate) fn spawn<C>(self, connection: C, start_drain: fn(Pin<&mut C>))
    where
        C: Future<Output: Send> + Send + 'static,
    {
        let Self { permit, state, connections } = self;
        let guard = connections.traffic.count_connection();
        let task_state = Arc::clone(&state);
        let task = tokio::spawn(async move {
            task_state.run(connection, start_drain).await;
            drop((permit, guard));
        });
        let mut open = connections.lock();
        open.connections.push(Connection { state, task: task.abort_handle(), idle_rounds: 0 });
        // If clients open a connection for each request, many have closed since the last round.
        if open.connections.len().is_power_of_two() {
            open.connections.retain(|connection| !connection.task.is_finished());
        }
        if !std::mem::replace(&mut open.is_watched, true) {
            tokio::spawn(connections.clone().watch());
        }
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.0.closed.fetch_add(1, Ordering::SeqCst);
    }
}

impl RequestCounter {
    /// Returns whether the connection is draining.
    pub(crate) fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// Returns whether a request is in flight.
    pub(crate) fn has_request(&self) -> bool {
        self.0.requests_in_flight.load(Ordering::Relaxed) > 0
    }

    /// Counts a request until the returned value is dropped.
    pub(crate) fn begin_request(&self) -> RequestGuard {
        // Only one thread writes, so no read-modify-write is needed.
        let in_flight = self.0.requests_in_flight.load(Ordering::Relaxed);
        self.0.requests_in_flight.store(in_flight + 1, Ordering::Relaxed);
        RequestGuard { state: Arc::clone(&self.0), started: Instant::now() }
    }

    /// Records that a request came and was answered at once.
    pub(crate) fn record_request(&self) {
        self.0.was_active.store(true, Ordering::Relaxed);
    }

    /// Returns the counts of the thread.
    pub(crate) fn tally(&self) -> &RequestTally {
        &self.0.tally
    }
}

impl RequestGuard {
    /// Ends the request, whose reply has this status.
    pub(crate) fn end(self, status: StatusCode) {
        self.state.tally.responded(status, self.started);
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let in_flight = self.state.requests_in_flight.load(Ordering::Relaxed);
        self.state.requests_in_flight.store(in_flight.saturating_sub(1), Ordering::Relaxed);
        self.state.was_active.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::task::Context;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn inactive_connections_are_closed() {
        let connections = Connections::new(2, Traffic::default());
        let (idle, busy) = (connections.acquire_slot().await, connections.acquire_slot().await);
        let request = busy.requests().begin_request();
        idle.spawn(std::future::pending::<()>(), |_| ());
        busy.spawn(std::future::pending::<()>(), |_| ());
        tokio::time::sleep(ROUND * IDLE_ROUNDS_MAX).await;
        assert_eq!(connections.lock().connections.len(), 2);
        tokio::time::sleep(ROUND * 3 / 2).await;
        assert_eq!(connections.lock().connections.len(), 1);
        // Exactly the slot of the closed connection is free again.
        let _slot = connections.acquire_slot().await;
        assert!(tokio::time::timeout(ROUND, connections.acquire_slot()).await.is_err());
        drop(request);
        tokio::time::sleep(ROUND * (IDLE_ROUNDS_MAX + 3)).await;
        assert!(connections.lock().connections.is_empty());
        assert!(!connections.lock().is_watched);
    }

    #[tokio::test(start_paused = true)]
    async fn traffic_is_idle_when_no_client_is_connected() {
        let idle = Duration::from_secs(10);
        let traffic = Traffic::default();
        let connections = Connections::new(1, traffic.clone());
        let slot = connections.acquire_slot().await;
        slot.spawn(tokio::time::sleep(idle * 3), |_| ());
        let begun = tokio::time::Instant::now();
        traffic.wait_until_idle(idle).await;
        let took = begun.elapsed();
        assert!(took >= idle * 4 && took <= idle * 6, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn draining_closes_every_connection() {
        let connections = Connections::new(2, Traffic::default());
        let (first, second) = (connections.acquire_slot().await, connections.acquire_slot().await);
        // The drain reaches one while it waits, the other before its first poll. Each takes a
        // second to close.
        let (waiting, new) = (SlowConnection::default(), SlowConnection::default());
        first.spawn(waiting, SlowConnection::start_drain);
        tokio::task::yield_now().await;
        second.spawn(new, SlowConnection::start_drain);
        let begun = tokio::time::Instant::now();
        connections.drain().await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
    }

    /// A connection that closes one second after [`start_drain`](Self::start_drain).
    #[derive(Default)]
    struct SlowConnection(Option<Pin<Box<tokio::time::Sleep>>>);

    impl SlowConnection {
        fn start_drain(mut self: Pin<&mut Self>) {
            assert!(self.0.is_none(), "the drain starts once");
            self.0 = Some(Box::pin(tokio::time::sleep(Duration::from_secs(1))));
        }
    }

    impl Future for SlowConnection {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            match &mut self.0 {
                Some(sleep) => sleep.as_mut().poll(context),
                None => Poll::Pending,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn active_connections_stay_open() {
        let connections = Connections::new(1, Traffic::default());
        let slot = connections.acquire_slot().await;
        let requests = slot.requests();
        slot.spawn(std::future::pending::<()>(), |_| ());
        for _ in 0..20 {
            tokio::time::sleep(ROUND).await;
            drop(requests.begin_request());
        }
        assert_eq!(connections.lock().connections.len(), 1);
    }
}
