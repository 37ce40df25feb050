//! The queue between the threads that make spans and the one that exports them.
//!
//! ```text
//! empty --(a span)--> filling --(the delay, a full batch or the end)--> a batch
//! ```
//!
//! Invariants:
//! * While the queue is empty, the exporter sleeps without a timer.
//! * Adding spans wakes the exporter when the queue stops being empty and when a batch is full, and
//!   never waits for it.
//! * The spans of one request are added or dropped together.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::span::Span;

/// The limits of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// The most spans that wait. Further ones are dropped.
    pub spans_max: usize,
    /// The most spans in a batch.
    pub batch_max: usize,
    /// The time that the first span of a batch waits for others.
    pub delay: Duration,
}

/// A queue of spans. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SpanQueue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: QueueLimits,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    spans: VecDeque<Span>,
    /// The spans dropped since the last batch.
    dropped: u64,
    is_closed: bool,
}

/// Spans to export at once.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    /// The spans, oldest first.
    pub spans: Vec<Span>,
    /// The spans that were dropped since the last batch.
    pub dropped: u64,
}

impl SpanQueue {
    /// Creates an empty queue.
    pub fn new(limits: QueueLimits) -> Self {
        Self(Arc::new(Inner { limits, state: Mutex::default(), changed: Condvar::new() }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the spans of one request, or drops them if there is no room.
    pub(super) fn push(&self, spans: Vec<Span>) {
        let QueueLimits { spans_max, batch_max, .. } = self.0.limits;
        let mut state = self.lock();
        let before = state.spans.len();
        let after = before + spans.len();
        if state.is_closed || after > spans_max {
            state.dropped += spans.len() as u64;
            return;
        }
        state.spans.extend(spans);
        drop(state);
        if before == 0 || (before < batch_max && after >= batch_max) {
            self.0.changed.notify_all();
        }
    }

    /// Waits for spans and returns a batch of them. Returns `None` once the queue is closed and
    /// empty.
    pub fn next_batch(&self) -> Option<Batch> {
        let Inner { limits: QueueLimits { batch_max, delay, .. }, changed, .. } = &*self.0;
        let mut state = self.lock();
        while state.spans.is_empty() && !state.is_closed {
            state = changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let due = Instant::now() + *delay;
        while state.spans.len() < *batch_max && !state.is_closed {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let count = state.spans.len().min(*batch_max);
        let dropped = std::mem::take(&mut state.dropped);
        let spans: Vec<_> = state.spans.drain(..count).collect();
        (!spans.is_empty() || dropped > 0).then_some(Batch { spans, dropped })
    }

    /// Returns the number of spans that wait.
    pub fn len(&self) -> usize {
        self.lock().spans.len()
    }

    /// Returns whether no span waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes the queue: further spans are dropped, and batches no longer wait to be full.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.0.changed.notify_all();
    }

    /// Waits for this time, or until the queue is closed. Returns whether it is closed.
    pub fn wait_until_closed(&self, timeout: Duration) -> bool {
        let is_open = |state: &mut State| !state.is_closed;
        let waited = self.0.changed.wait_timeout_while(self.lock(), timeout, is_open);
        waited.unwrap_or_else(PoisonError::into_inner).0.is_closed
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::super::random;
    use super::super::span::{Parent, SpanKind, SpanStart};
    use super::*;

    fn spans(count: usize) -> Vec<Span> {
        let start = || SpanStart {
            trace_id: random::trace_id(1),
            id: random::span_id(),
            parent: Parent::None,
            began: SystemTime::now(),
        };
        (0..count).map(|_| start().end(SpanKind::Server, "a".into())).collect()
    }

    fn queue(delay: Duration) -> SpanQueue {
        SpanQueue::new(QueueLimits { spans_max: 5, batch_max: 3, delay })
    }

    fn sizes(batch: Option<Batch>) -> Option<(usize, u64)> {
        batch.map(|Batch { spans, dropped }| (spans.len(), dropped))
    }

    #[test]
    fn a_full_queue_drops_whole_requests_and_counts_them() {
        let queue = queue(Duration::ZERO);
        queue.push(spans(4));
        queue.push(spans(2));
        queue.push(spans(1));
        queue.push(spans(1));
        assert_eq!(sizes(queue.next_batch()), Some((3, 3)));
        assert_eq!(sizes(queue.next_batch()), Some((2, 0)));
        queue.close();
        queue.push(spans(1));
        assert_eq!(sizes(queue.next_batch()), Some((0, 1)));
        assert_eq!(queue.next_batch(), None);
    }

    #[test]
    fn a_full_batch_and_the_end_do_not_wait_for_the_delay() {
        let queue = queue(Duration::from_secs(3600));
        let batches = {
            let queue = queue.clone();
            std::thread::spawn(move || std::iter::from_fn(|| queue.next_batch()).count())
        };
        queue.push(spans(3));
        while !queue.is_empty() {
            std::thread::yield_now();
        }
        queue.push(spans(1));
        queue.close();
        assert_eq!(batches.join().unwrap(), 2);
    }

    #[test]
    fn a_pause_ends_with_the_queue() {
        let queue = queue(Duration::ZERO);
        assert!(!queue.wait_until_closed(Duration::from_millis(1)));
        let closing = queue.clone();
        let closes = std::thread::spawn(move || closing.close());
        assert!(queue.wait_until_closed(Duration::from_secs(3600)));
        closes.join().unwrap();
    }
}
