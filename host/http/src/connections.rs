//! The open connections of one thread: counted, bounded, and ended when nothing comes of them.
//!
//! ```text
//! place -> open --(a request)--> busy --(its answer)--> open --(nothing for a while)--> cut
//! ```
//!
//! One round for all connections, every [`ROUND`], instead of a timer for each request: a connection on
//! which no request has begun or ended for [`IDLE_ROUNDS_MAX`] whole rounds is cut. That covers a peer that
//! sends nothing, sends its headers one byte at a time, keeps an idle connection open, or doesn't take
//! its answer. A body that doesn't come is `body`'s.
//!
//! When the server stops, each is told to end once its requests are answered. That is a flag which a connection looks
//! at whenever it goes on; hyper-util's own watch is a future more, polled with every request.
//!
//! Invariant: while no connection is open there is no timer.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

/// How often connections are looked at.
const ROUND: Duration = Duration::from_secs(15);

/// Rounds without a sign of life after which a connection is cut: it has been idle for one to two more
/// than a minute's worth of them.
const IDLE_ROUNDS_MAX: u32 = 4;

/// The connections of one thread.
#[derive(Clone)]
pub(crate) struct Connections {
    connections_max: u32,
    places: Arc<Semaphore>,
    open: Arc<Mutex<Open>>,
    traffic: Traffic,
}

/// The connections of a whole server, counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Traffic(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Traffic {
    /// Waits until there was no connection for `idle`.
    pub(crate) async fn ceases(&self, idle: Duration) {
        let mut seen = None;
        loop {
            tokio::time::sleep(idle).await;
            let ended = self.0.ended.load(Ordering::SeqCst);
            let begun = self.0.begun.load(Ordering::SeqCst);
            if begun == ended && seen == Some(begun) {
                return;
            }
            // Looked at again after as long: nothing has come in between, then.
            seen = (begun == ended).then_some(begun);
        }
    }
}

#[derive(Default)]
struct Open {
    connections: Vec<Connection>,
    is_watched: bool,
}

struct Connection {
    life: Arc<Life>,
    task: AbortHandle,
    idle_rounds: u32,
}

/// Signs of life, and the sign to end. Written by one thread only.
#[derive(Default)]
struct Life {
    under_way: AtomicU32,
    seen: AtomicBool,
    draining: AtomicBool,
    /// Wakes its task, so that it sees that.
    waker: Mutex<Option<Waker>>,
}

/// Room for one connection.
pub(crate) struct Place {
    permit: OwnedSemaphorePermit,
    life: Arc<Life>,
    connections: Connections,
}

/// Where the requests of one connection are counted.
#[derive(Clone)]
pub(crate) struct Requests(Arc<Life>);

/// A request under way, until dropped.
pub(crate) struct UnderWay(Arc<Life>);

impl Connections {
    pub(crate) fn new(connections_max: u32, traffic: Traffic) -> Self {
        let places = Arc::new(Semaphore::new(connections_max as usize));
        Self { connections_max, places, open: Arc::default(), traffic }
    }

    /// Waits for room.
    pub(crate) async fn place(&self) -> Place {
        loop {
            // It fails only when closed, which nobody does.
            if let Ok(permit) = Arc::clone(&self.places).acquire_owned().await {
                return Place { permit, life: Arc::default(), connections: self.clone() };
            }
        }
    }

    /// Has every connection end when what is under way on it is answered, and waits until all have.
    pub(crate) async fn drain(&self) {
        for connection in &self.lock().connections {
            connection.life.end();
        }
        // Fails only when closed, which nobody does.
        let _ = self.places.acquire_many(self.connections_max).await;
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes round until nothing is open.
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

    /// Says to end, and that it was said.
    fn end(&self) {
        self.draining.store(true, Ordering::Release);
        if let Some(waker) = self.lock_waker().take() {
            waker.wake();
        }
    }

    /// Runs `connection` to its end, which `end` has it come to when [that](Self::end) is called for.
    async fn live<C: Future>(&self, connection: C, end: fn(Pin<&mut C>)) {
        let mut connection = pin!(connection);
        let (mut waits, mut told) = (false, false);
        poll_fn(|context| {
            // A task's waker is the same each time.
            if !std::mem::replace(&mut waits, true) {
                *self.lock_waker() = Some(context.waker().clone());
            }
            if self.draining.load(Ordering::Acquire) && !std::mem::replace(&mut told, true) {
                // What it has had to hold back of a request is under way after that.
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
    /// Looks at it once a round; cuts it if it has been idle for too long.
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
    pub(crate) fn requests(&self) -> Requests {
        Requests(Arc::clone(&self.life))
    }

    /// Runs the connection to its end, or until it is cut. `end` has it end when what is under way is answered.
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
        // Those that have ended since the last round are many where each request has one of its own.
        if open.connections.len().is_power_of_two() {
            open.connections.retain(|connection| !connection.task.is_finished());
        }
        if !std::mem::replace(&mut open.is_watched, true) {
            tokio::spawn(connections.clone().watch());
        }
    }
}

/// One connection, until dropped: also when it is cut.
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
    /// Whether the connection is to end when what is under way is answered.
    pub(crate) fn are_ending(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    pub(crate) fn begin(&self) -> UnderWay {
        // One thread writes: no read-modify-write is needed.
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
    async fn a_connection_is_cut_when_nothing_comes_of_it() {
        let connections = Connections::new(2, Traffic::default());
        let (idle, busy) = (connections.place().await, connections.place().await);
        let under_way = busy.requests().begin();
        idle.spawn(std::future::pending::<()>(), |_| ());
        busy.spawn(std::future::pending::<()>(), |_| ());
        tokio::time::sleep(ROUND * IDLE_ROUNDS_MAX).await;
        assert_eq!(connections.lock().connections.len(), 2);
        tokio::time::sleep(ROUND * 3 / 2).await;
        assert_eq!(connections.lock().connections.len(), 1);
        // Its place is free again, and only its.
        let _again = connections.place().await;
        assert!(tokio::time::timeout(ROUND, connections.place()).await.is_err());
        drop(under_way);
        tokio::time::sleep(ROUND * (IDLE_ROUNDS_MAX + 3)).await;
        assert!(connections.lock().connections.is_empty());
        assert!(!connections.lock().is_watched);
    }

    #[tokio::test(start_paused = true)]
    async fn traffic_ceases_when_nobody_is_connected() {
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
    async fn connections_end_when_told_to() {
        let connections = Connections::new(2, Traffic::default());
        let (first, second) = (connections.place().await, connections.place().await);
        // One is told while it waits, one before it has begun; a second to take leave each.
        let (waiting, new) = (Leaving::default(), Leaving::default());
        first.spawn(waiting, Leaving::leave);
        tokio::task::yield_now().await;
        second.spawn(new, Leaving::leave);
        let begun = tokio::time::Instant::now();
        connections.drain().await;
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
    }

    /// Goes on until it is told to leave, and a second longer.
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
    async fn a_connection_that_is_used_lives_on() {
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
