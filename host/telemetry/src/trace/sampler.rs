//! The decision whether a request is traced.
//!
//! A share of traces is chosen by their id, as the OpenTelemetry SDKs do it (`TraceIdRatioBased`): all
//! services with the same share choose the same traces.

use nebula_model::trace_context::{TraceContext, TraceId};

/// Decides which requests are traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampler {
    /// The decision for a request whose caller made none.
    pub root: RootSampler,
    /// Follows the caller's decision, if it made one.
    pub follows_parent: bool,
}

/// Decides which traces are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootSampler {
    /// Every trace.
    Always,
    /// No trace.
    Never,
    /// A share of them.
    Share(SampledShare),
}

/// A share of all traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampledShare {
    /// A trace is chosen if the last 63 bits of its id are below.
    below: u64,
}

impl SampledShare {
    /// Creates a share from 0 to 1. Returns `None` for another number.
    pub fn new(share: f64) -> Option<Self> {
        // The factor is a power of two, so the product is exact before its fraction is cut.
        (0.0..=1.0).contains(&share).then_some(Self { below: (share * (1_u64 << 63) as f64) as u64 })
    }

    fn includes(self, low: u64) -> bool {
        low >> 1 < self.below
    }
}

impl RootSampler {
    /// Decides by the second half of the trace's id.
    pub(super) fn samples(self, low: u64) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Share(share) => share.includes(low),
        }
    }
}

impl Sampler {
    /// Decides on a request that belongs to a trace.
    pub(super) fn samples(self, context: &TraceContext) -> bool {
        if self.follows_parent { context.is_sampled } else { self.root.samples(low(context.trace_id)) }
    }

    /// Returns whether no request is ever traced.
    pub fn is_off(self) -> bool {
        self.root == RootSampler::Never && !self.follows_parent
    }
}

/// Returns the second half of a trace's id.
fn low(id: TraceId) -> u64 {
    // Keeps the last eight bytes.
    u128::from_be_bytes(id.bytes()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(low: u64, flags: u8) -> TraceContext {
        TraceContext::parse(format!("00-00000000000000ff{low:016x}-b7ad6b7169203331-{flags:02x}").as_bytes())
            .unwrap()
    }

    #[test]
    fn a_share_is_chosen_by_the_id() {
        let share = |share| RootSampler::Share(SampledShare::new(share).unwrap());
        for (share, low, is_sampled) in [
            (share(0.0), 0, false),
            (share(1.0), u64::MAX, true),
            (share(0.5), u64::MAX / 2, true),
            (share(0.5), u64::MAX / 2 + 1, false),
            (share(0.25), 1 << 62, false),
            (share(0.25), (1 << 62) - 1, true),
            (RootSampler::Always, u64::MAX, true),
            (RootSampler::Never, 0, false),
        ] {
            assert_eq!(share.samples(low), is_sampled, "{share:?} {low:x}");
            let sampler = Sampler { root: share, follows_parent: false };
            assert_eq!(
                sampler.samples(&context(low.max(1), 0)),
                share.samples(low.max(1)),
                "{share:?} {low:x}"
            );
        }
        for wrong in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(SampledShare::new(wrong), None);
        }
    }

    #[test]
    fn the_callers_decision_is_followed() {
        for root in [RootSampler::Always, RootSampler::Never] {
            let sampler = Sampler { root, follows_parent: true };
            assert!(sampler.samples(&context(1, 1)) && !sampler.samples(&context(1, 0)));
            assert!(!sampler.is_off());
        }
        assert!(Sampler { root: RootSampler::Never, follows_parent: false }.is_off());
    }
}
