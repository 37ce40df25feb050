//! The tracer: it decides which requests are traced, and takes their spans.

use std::sync::Arc;
use std::time::SystemTime;

use nebula_model::trace_context::{TraceContext, TraceId};

use super::queue::SpanQueue;
use super::random;
use super::sampler::Sampler;
use super::span::{Parent, Span, SpanStart};

/// Traces requests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tracer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sampler: Sampler,
    queue: SpanQueue,
}

impl Tracer {
    /// Creates a tracer whose spans go to this queue.
    pub fn new(sampler: Sampler, queue: SpanQueue) -> Self {
        Self(Arc::new(Inner { sampler, queue }))
    }

    /// Decides on a request that begins now. Returns `None` if it isn't traced.
    pub fn begin(&self, context: Option<TraceContext>) -> Option<SpanStart> {
        let sampler = self.0.sampler;
        match context {
            Some(context) => {
                let parent = Parent::Remote(context.parent_id);
                sampler.samples(&context).then(|| start(context.trace_id, parent))
            }
            None => {
                let low = random::number();
                sampler.root.samples(low).then(|| start(random::trace_id(low), Parent::None))
            }
        }
    }

    /// Takes the finished spans of one request.
    pub fn record(&self, spans: Vec<Span>) {
        self.0.queue.push(spans);
    }
}

fn start(trace_id: TraceId, parent: Parent) -> SpanStart {
    SpanStart { trace_id, id: random::span_id(), parent, began: SystemTime::now() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::queue::QueueLimits;
    use super::super::sampler::{RootSampler, SampledShare};
    use super::*;

    fn tracer(root: RootSampler, follows_parent: bool) -> Tracer {
        let limits = QueueLimits { spans_max: 1, batch_max: 1, delay: Duration::ZERO };
        Tracer::new(Sampler { root, follows_parent }, SpanQueue::new(limits))
    }

    #[test]
    fn a_sampled_request_joins_the_trace_of_its_caller() {
        let text = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = TraceContext::parse(text).unwrap();
        let span = tracer(RootSampler::Never, true).begin(Some(context)).unwrap();
        assert_eq!((span.trace_id, span.parent), (context.trace_id, Parent::Remote(context.parent_id)));
        assert_ne!(span.id, context.parent_id);
        let unsampled = TraceContext { is_sampled: false, ..context };
        assert_eq!(tracer(RootSampler::Always, true).begin(Some(unsampled)), None);
        assert_eq!(tracer(RootSampler::Never, true).begin(None), None);
    }

    #[test]
    fn about_the_share_of_new_traces_is_sampled() {
        let share = RootSampler::Share(SampledShare::new(0.1).unwrap());
        let tracer = tracer(share, true);
        let sampled = (0..10_000).filter(|_| tracer.begin(None).is_some()).count();
        // Seven standard deviations.
        assert!((790..=1210).contains(&sampled), "{sampled}");
    }

    /// Another service with the same share chooses the traces that are chosen here.
    #[test]
    fn a_new_trace_is_chosen_by_its_id() {
        let share = RootSampler::Share(SampledShare::new(0.3).unwrap());
        let (first, second) = (tracer(share, true), tracer(share, false));
        for start in (0..1000).filter_map(|_| first.begin(None)) {
            let text = format!("00-{}-{}-00", start.trace_id, start.id);
            assert!(second.begin(TraceContext::parse(text.as_bytes())).is_some(), "{text}");
        }
    }
}
