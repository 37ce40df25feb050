//! The contract of [`Peers`](crate::Peers), as tests.

#![expect(missing_docs, reason = "each name states the behaviour")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use nebula_cache::{FunctionKey, Key};
use nebula_model::answer::{Answer, Content};
use nebula_model::caching::{Because, CacheDirectives, Source};
use nebula_model::cost::CallCost;
use nebula_model::id::{FunctionRef, Selector};
use nebula_model::request::{Prefer, Request};
use tokio::sync::Barrier;

use crate::peers::{Answerer, Lease, LeaseGuard, PeerAnswer, PeerCall, PeerFuture, Peers};

/// Questions for one lease at the same time.
const QUESTIONS: u8 = 20;

/// The first key of later questions ([`ask`]).
const LATER: u8 = 100;

/// The peers under test.
pub trait Fixture: Sized {
    /// Returns hosts that answer no calls.
    fn new() -> Self;

    /// Returns the view of one host.
    fn host(&self) -> Arc<dyn Peers>;

    /// Returns the view of another host. Returns `None` if the implementation has no other hosts.
    fn other_host(&self) -> Option<Arc<dyn Peers>> {
        None
    }

    /// Answers calls on the other host with `answer` from now on.
    fn serve_other(&self, _answer: Answerer) {}
}

/// Runs the conformance tests of [`Peers`](crate::Peers) on a
/// [`Fixture`](crate::testing::peers::Fixture), one `#[test]` each.
#[macro_export]
macro_rules! peers_conformance {
    ($fixture:ty) => {
        $crate::peers_conformance!($fixture:
            a_free_lease_is_granted,
            leases_of_different_keys_are_independent,
            a_lease_can_be_taken_again_after_its_release,
            one_host_computes_and_the_other_waits_for_it,
            waiting_for_a_lease_ends_at_the_deadline,
            of_many_hosts_that_ask_one_is_granted,
            a_question_that_is_dropped_takes_no_lease,
            a_call_that_no_host_takes_comes_back,
            another_host_answers_a_forwarded_call,
            a_forwarded_call_comes_back_at_its_deadline,
        );
    };
    ($fixture:ty: $($test:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $test() {
                $crate::testing::peers::$test::<$fixture>().await;
            }
        )*
    };
}

/// Returns a deadline that no operation reaches.
pub fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn key(number: u8) -> Key {
    Key::from_bytes([number; 32])
}

fn call() -> PeerCall {
    PeerCall {
        function: FunctionRef { name: "double".parse().unwrap(), selector: Selector::Current },
        key: FunctionKey::from_bytes([7; 32]),
        request: Request::Query(Vec::new()),
        prefer: Prefer::AsSent,
        directives: CacheDirectives::default(),
    }
}

fn answer() -> PeerAnswer {
    PeerAnswer {
        result: Ok(Answer::Value(Content::json(b"42".to_vec()))),
        cost: CallCost { run: Duration::from_millis(5), ..CallCost::default() },
        source: Source::Ran { because: Because::Missed, stored: true },
        content_hash: None,
        engine: "nebula/test".into(),
    }
}

async fn granted(host: &Arc<dyn Peers>, number: u8) -> LeaseGuard {
    match host.lease(key(number), soon()).await {
        Lease::Granted(guard) => guard,
        Lease::Released => panic!("another host holds the lease"),
    }
}

/// Asks for a lease. Returns the question if it still waits when a later one has been answered.
///
/// The later answer shows that the question has arrived, so tests need no fixed pause.
async fn ask(host: &Arc<dyn Peers>, number: u8, later: u8) -> Result<PeerFuture<'_, Lease>, Lease> {
    let mut asked = host.lease(key(number), soon());
    tokio::select! {
        biased;
        lease = &mut asked => Err(lease),
        later = granted(host, later) => {
            drop(later);
            Ok(asked)
        }
    }
}

/// Asks for a lease that another host holds. Returns the question, which waits.
async fn waiting(host: &Arc<dyn Peers>, number: u8) -> PeerFuture<'_, Lease> {
    ask(host, number, LATER).await.unwrap()
}

pub async fn a_free_lease_is_granted<F: Fixture>() {
    let fixture = F::new();
    drop(granted(&fixture.host(), 1).await);
}

pub async fn leases_of_different_keys_are_independent<F: Fixture>() {
    let fixture = F::new();
    let host = fixture.host();
    let first = granted(&host, 1).await;
    let second = granted(fixture.other_host().as_ref().unwrap_or(&host), 2).await;
    drop((first, second));
}

pub async fn a_lease_can_be_taken_again_after_its_release<F: Fixture>() {
    let fixture = F::new();
    let host = fixture.host();
    for _ in 0..3 {
        drop(granted(&host, 1).await);
    }
    if let Some(other) = fixture.other_host() {
        drop(granted(&other, 1).await);
    }
}

pub async fn one_host_computes_and_the_other_waits_for_it<F: Fixture>() {
    let fixture = F::new();
    let Some(other) = fixture.other_host() else { return };
    let guard = granted(&fixture.host(), 1).await;
    let asked = waiting(&other, 1).await;
    drop(guard);
    assert!(matches!(asked.await, Lease::Released));
}

/// Then the host computes the result itself, and is the second that does.
pub async fn waiting_for_a_lease_ends_at_the_deadline<F: Fixture>() {
    let fixture = F::new();
    let Some(other) = fixture.other_host() else { return };
    let guard = granted(&fixture.host(), 1).await;
    let deadline = Instant::now() + Duration::from_millis(20);
    let lease = tokio::time::timeout_at(soon().into(), other.lease(key(1), deadline)).await.unwrap();
    assert!(matches!(lease, Lease::Granted(_)));
    drop(lease);
    // The holder still holds it.
    drop(waiting(&other, 1).await);
    drop(guard);
}

pub async fn of_many_hosts_that_ask_one_is_granted<F: Fixture>() {
    let fixture = F::new();
    let Some(other) = fixture.other_host() else { return };
    let hosts = [fixture.host(), other];
    let all_have_asked = Arc::new(Barrier::new(QUESTIONS.into()));
    let asking = (0..QUESTIONS).map(|number| {
        let host = Arc::clone(&hosts[usize::from(number) % hosts.len()]);
        let all_have_asked = Arc::clone(&all_have_asked);
        tokio::spawn(async move {
            let asked = ask(&host, 1, LATER + number).await;
            // The holder keeps the lease until all have asked.
            tokio::time::timeout_at(soon().into(), all_have_asked.wait()).await.unwrap();
            let lease = match asked {
                Ok(waiting) => waiting.await,
                Err(lease) => lease,
            };
            usize::from(matches!(lease, Lease::Granted(_)))
        })
    });
    let asking: Vec<_> = asking.collect();
    let mut granted = 0;
    for asked in asking {
        granted += asked.await.unwrap();
    }
    assert_eq!(granted, 1);
}

pub async fn a_question_that_is_dropped_takes_no_lease<F: Fixture>() {
    let fixture = F::new();
    let Some(other) = fixture.other_host() else { return };
    let guard = granted(&fixture.host(), 1).await;
    drop(waiting(&other, 1).await);
    drop(guard);
    drop(granted(&fixture.host(), 1).await);
}

pub async fn a_call_that_no_host_takes_comes_back<F: Fixture>() {
    let fixture = F::new();
    assert!(fixture.host().forward(call(), soon()).await.is_none());
    assert!(fixture.host().forward(call(), Instant::now()).await.is_none());
    fixture.serve_other(Arc::new(|_| Box::pin(std::future::ready(None))));
    assert!(fixture.host().forward(call(), soon()).await.is_none());
}

pub async fn another_host_answers_a_forwarded_call<F: Fixture>() {
    let fixture = F::new();
    if fixture.other_host().is_none() {
        return;
    }
    fixture.serve_other(Arc::new(|asked| {
        assert_eq!((asked.key, asked.function), (call().key, call().function));
        Box::pin(std::future::ready(Some(answer())))
    }));
    let answered = fixture.host().forward(call(), soon()).await.unwrap();
    assert_eq!(answered.result.unwrap().body(), answer().result.unwrap().body());
    assert_eq!((answered.cost.run, answered.source), (answer().cost.run, answer().source));
}

pub async fn a_forwarded_call_comes_back_at_its_deadline<F: Fixture>() {
    let fixture = F::new();
    fixture.serve_other(Arc::new(|_| Box::pin(std::future::pending())));
    let (host, deadline) = (fixture.host(), Instant::now() + Duration::from_millis(20));
    let forwarded = tokio::time::timeout_at(soon().into(), host.forward(call(), deadline));
    assert!(forwarded.await.unwrap().is_none());
}
