//! The open connections of one thread: counted, bounded, and closed when inactive.
//!
//! ```text
//! place -> open --(a request)--> busy --(its answer)--> open --(inactive for a while)--> closed
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
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

/// The time between two checks of all connections.
const ROUND: Duration = Duration::from_secs(15);

/// The most rounds in a row for which a connection may be inactive. The next one closes it: after
/// 75 to 90 s, or 60 to 75 s if it never had a request.
const IDLE_ROUNDS_MAX: u32 = 4;

/// The connections of one thread.
#[derive(Clone)]
pub(crate) struct Connections {
    connections_max: u32,
    places: Arc<Semaphore>,
    open: Arc<Mutex<Open>>,
    traffic: Traffic,
}

/// The count of connections of a whole server, over all threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Traffic {
    /// Waits until no connection was open for at least `idle`, at most twice as long.
    pub(crate) async fn ceases(&self, idle: Duration) {
        let mut seen = None;
        loop {
            tokio::time::sleep(idle).await;
            let ended = self.0.ended.load(Ordering::SeqCst);
            let begun = self.0.begun.load(Ordering::SeqCst);
            if begun == ended && seen == Some(begun) {
                return;
            }
            // If the count is the same after the next sleep, no connection was open in between.
            seen = (begun == ended).then_some(begun);
        }
    }
}

/// The connections that are open, and some that have closed since the last round.
#[derive(Default)]
struct Open {
    connections: Vec<Connection>,
    /// Set while the task that checks them runs.
    is_watched: bool,
}

/// One connection, as the checks see it.
struct Connection {
    life: Arc<Life>,
    task: AbortHandle,
    idle_rounds: u32,
}

/// The activity of a connection, and its flag to drain. Only one thread writes it.
#[derive(Default)]
struct Life {
    /// Requests in flight.
    under_way: AtomicU32,
    /// Set when a request ends, cleared by each round.
    seen: AtomicBool,
    /// Tells the connection to drain.
    draining: AtomicBool,
    /// Wakes the connection's task, so that it sees `draining`.
    waker: Mutex<Option<Waker>>,
}

/// A slot for one connection.
pub(crate) struct Place {
    permit: OwnedSemaphorePermit,
    life: Arc<Life>,
    connections: Connections,
}

/// Counts the requests in flight of one connection.
#[derive(Clone)]
pub(crate) struct Requests(Arc<Life>);

/// A request in flight, until dropped.
pub(crate) struct UnderWay(Arc<Life>);

impl Connections {
    /// Creates the set of a thread, with at most `connections_max` connections.
    pub(crate) fn new(connections_max: u32, traffic: Traffic) -> Self {
        let places = Arc::new(Semaphore::new(connections_max as usize));
        Self { connections_max, places, open: Arc::default(), traffic }
    }

    /// Waits for a free slot.
    pub(crate) async fn place(&self) -> Place {
        loop {
            // It fails only if the semaphore is closed, and nothing closes it.
            if let Ok(permit) = Arc::clone(&self.places).acquire_owned().await {
                return Place { permit, life: Arc::default(), connections: self.clone() };
            }
        }
    }

    /// Tells every connection to close once its requests are answered, and waits until all are
    /// closed.
    pub(crate) async fn drain(&self) {
        for connection in &self.lock().connections {
            connection.life.end();
        }
        // It fails only if the semaphore is closed, and nothing closes it.
        let _ = self.places.acquire_many(self.connections_max).await;
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks all connections every [`ROUND`], until none is open.
    async fn watch(self) {
        loop {
            tokio::time::sleep(ROUND).await;
            let mut open = self.lock();
            open.connections.retain_mut(Connection::lives_on);
            if open.connections.is_empty() {
                open.is_watched = false;
                return;
            }
        }
    }
}

impl Life {
    fn lock_waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the connection to drain, and wakes its task.
    fn end(&self) {
        self.draining.store(true, Ordering::Release);
        if let Some(waker) = self.lock_waker().take() {
            waker.wake();
        }
    }

    /// Runs `connection` until it closes. Calls the function `end`, which makes it drain, once
    /// after [`Life::end`].
    async fn live<C: Future>(&self, connection: C, end: fn(Pin<&mut C>)) {
        let mut connection = pin!(connection);
        let (mut waits, mut told) = (false, false);
        poll_fn(|context| {
            // A task has the same waker in every poll.
            if !std::mem::replace(&mut waits, true) {
                *self.lock_waker() = Some(context.waker().clone());
            }
            if self.draining.load(Ordering::Acquire) && !std::mem::replace(&mut told, true) {
                // Poll first: part of a request that was held back is in flight afterwards.
                if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                    return Poll::Ready(ended);
                }
                end(connection.as_mut());
            }
            connection.as_mut().poll(context)
        })
        .await;
    }
}

impl Connection {
    /// Checks the connection, once a round. Closes it if it has been inactive for too long, and
    /// returns whether it is still open.
    fn lives_on(&mut self) -> bool {
        if self.task.is_finished() {
            return false;
        }
        let seen = self.life.seen.swap(false, Ordering::Relaxed);
        if seen || self.life.under_way.load(Ordering::Relaxed) > 0 {
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

impl Place {
    /// Returns the counter of the connection's requests.
    pub(crate) fn requests(&self) -> Requests {
        Requests(Arc::clone(&self.life))
    }

    /// Runs the connection in a task until it closes or a check closes it. `end` makes it drain.
    pub(crate) fn spawn<C>(self, connection: C, end: fn(Pin<&mut C>))
    where
        C: Future<Output: Send> + Send + 'static,
    {
        let Self { permit, life, connections } = self;
        let counted = Counted::begin(&connections.traffic);
        let living = Arc::clone(&life);
        let task = tokio::spawn(async move {
            living.live(connection, end).await;
            drop((permit, counted));
        });
        let mut open = connections.lock();
        open.connections.push(Connection { life, task: task.abort_handle(), idle_rounds: 0 });
        // If clients open a connection for each request, many have closed since the last round.
        if open.connections.len().is_power_of_two() {
            open.connections.retain(|connection| !connection.task.is_finished());
        }
        if !std::mem::replace(&mut open.is_watched, true) {
            tokio::spawn(connections.clone().watch());
        }
    }
}

/// One counted connection, until dropped, which an aborted task does too.
struct Counted(Traffic);

impl Counted {
    fn begin(traffic: &Traffic) -> Self {
        traffic.0.begun.fetch_add(1, Ordering::SeqCst);
        Self(traffic.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}

impl Requests {
    /// Returns whether the connection drains.
    pub(crate) fn are_ending(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// Counts a request until the returned value is dropped.
    pub(crate) fn begin(&self) -> UnderWay {
        // Only one thread writes, so no read-modify-write is needed.
        let under_way = self.0.under_way.load(Ordering::Relaxed);
        self.0.under_way.store(under_way + 1, Ordering::Relaxed);
        UnderWay(Arc::clone(&self.0))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let under_way = self.0.under_way.load(Ordering::Relaxed);
        self.0.under_way.store(under_way.saturating_sub(1), Ordering::Relaxed);
        self.0.seen.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn inactive_connections_are_closed() {
        let connections = Connections::new(2, Traffic::default());
        let (idle, busy) = (connections.place().await, connections.place().await);
        let under_way = busy.requests().begin();
        idle.spawn(std::future::pending::<()>(), |_| ());
        busy.spawn(std::future::pending::<()>(), |_| ());
        tokio::time::sleep(ROUND * IDLE_ROUNDS_MAX).await;
        assert_eq!(connections.lock().connections.len(), 2);
        tokio::time::sleep(ROUND * 3 / 2).await;
        assert_eq!(connections.lock().connections.len(), 1);
        // Exactly the slot of the closed connection is free again.
        let _again = connections.place().await;
        assert!(tokio::time::timeout(ROUND, connections.place()).await.is_err());
        drop(under_way);
        tokio::time::sleep(ROUND * (IDLE_ROUNDS_MAX + 3)).await;
        assert!(connections.lock().connections.is_empty());
        assert!(!connections.lock().is_watched);
    }

    #[tokio::test(start_paused = true)]
    async fn traffic_ceases_when_no_client_is_connected() {
        let idle = Duration::from_secs(10);
        let traffic = Traffic::default();
        let connections = Connections::new(1, traffic.clone());
        let place = connections.place().await;
        place.spawn(tokio::time::sleep(idle * 3), |_| ());
        let begun = tokio::time::Instant::now();
        traffic.ceases(idle).await;
        let took = begun.elapsed();
        assert!(took >= idle * 4 && took <= idle * 6, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn draining_closes_every_connection() {
        let connections = Connections::new(2, Traffic::default());
        let (first, second) = (connections.place().await, connections.place().await);
        // The drain reaches one while it waits, the other before its first poll. Each takes a
        // second to close.
        let (waiting, new) = (Leaving::default(), Leaving::default());
        first.spawn(waiting, Leaving::leave);
        tokio::task::yield_now().await;
        second.spawn(new, Leaving::leave);
        let begun = tokio::time::Instant::now();
        connections.drain().await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
    }

    /// A connection that closes one second after [`leave`](Self::leave).
    #[derive(Default)]
    struct Leaving(Option<Pin<Box<tokio::time::Sleep>>>);

    impl Leaving {
        fn leave(mut self: Pin<&mut Self>) {
            assert!(self.0.is_none(), "it is told once");
            self.0 = Some(Box::pin(tokio::time::sleep(Duration::from_secs(1))));
        }
    }

    impl Future for Leaving {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, context: &mut std::task::Context<'_>) -> std::task::Poll<()> {
            match &mut self.0 {
                Some(sleep) => sleep.as_mut().poll(context),
                None => std::task::Poll::Pending,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn active_connections_stay_open() {
        let connections = Connections::new(1, Traffic::default());
        let place = connections.place().await;
        let requests = place.requests();
        place.spawn(std::future::pending::<()>(), |_| ());
        for _ in 0..20 {
            tokio::time::sleep(ROUND).await;
            drop(requests.begin());
        }
        assert_eq!(connections.lock().connections.len(), 1);
    }
}
