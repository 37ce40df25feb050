//! The path of a result that isn't in memory: run on the fast lane, or stored, leased or run on the
//! compute lane, then cached and landed.
//!
//! Invariants:
//! * A stored result took long to compute. The store is read only where the call would take long
//!   again, and no other call waits for the read.
//! * A call that holds a slot on the compute lane waits for no other host.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nebula_cache::{Key, Spelling};
use nebula_model::caching::Source;
use nebula_model::cost::CallCost;
use nebula_pipeline::ExecutionMode;
use tokio::sync::oneshot;

use super::call::Call;
use super::{RoutedFunction, Shard};
use crate::cache::{CachedResult, FlightOutcome, Lead};
use crate::call::events::CallIds;
use crate::call::invoke;
use crate::call::invoke::{CallOutcome, CallRequest, Decoded, RunEnd};
use crate::call::lookup::{CacheSlot, FIND_WAIT_MAX};
use crate::call::tally::Lane;
use crate::error::{CallError, Fault};
use crate::peers::{Host, Lease, LeaseGuard};
use crate::run::code::Code;

/// A result that isn't in memory.
pub(super) struct MissingResult<'a> {
    /// Its place in the cache.
    pub(super) slot: CacheSlot<'a>,
    /// The request, if a stored result may answer it.
    pub(super) request: Option<CallRequest<'a>>,
    /// The lead of its flight. A call without one runs for itself.
    pub(super) lead: Option<Lead>,
}

/// A result that was stored, and the outcome of the call that it answers.
struct StoredHit {
    outcome: CallOutcome,
    result: Arc<CachedResult>,
}

/// The input of a call that was decoded on the compute lane.
pub(super) struct DecodedCall {
    pub(super) decoded: Decoded,
    pub(super) key: Key,
}

impl Shard {
    /// Runs a call on the fast lane or on the compute lane, and caches its result if it has a place
    /// in the cache. A pipeline runs as one component, if it is a linked chain and that is faster,
    /// or step by step.
    pub(super) async fn compute(
        &self,
        routed: &Arc<RoutedFunction>,
        decoded: Decoded,
        mut call: Call,
        missing: Option<MissingResult<'_>>,
    ) -> CallOutcome {
        let trial = routed.composed().map(|_| Trial { mode: call.mode(), begun: Instant::now() });
        if let Some(called) = self.try_here(routed, &decoded, &mut call) {
            let called = match missing {
                Some(MissingResult { slot, lead, .. }) => {
                    self.0.runtime.results().keep(routed, called, slot, lead)
                }
                None => called,
            };
            if let Some(trial) = trial {
                trial.record(routed, Duration::ZERO, &called);
            }
            return called;
        }
        let lost = trial.as_ref().map_or(Duration::ZERO, |trial| trial.begun.elapsed());
        // Rare and large: boxed, so that it isn't moved with every request.
        let called = match missing {
            Some(missing) => Box::pin(self.lead_on_compute_lane(routed, decoded, call, missing)).await,
            None => Box::pin(self.call_on_compute_lane(routed, decoded, call)).await,
        };
        if let Some(trial) = trial {
            trial.record(routed, lost, &called);
        }
        called
    }

    /// Runs a call on the fast lane, if the function may use it. `None` if the call has to go to
    /// the compute lane.
    fn try_here(
        &self,
        routed: &Arc<RoutedFunction>,
        decoded: &Decoded,
        call: &mut Call,
    ) -> Option<CallOutcome> {
        if call.started || routed.history().is_long() {
            return None;
        }
        let (loaded, is_fused) = match &call.code {
            Code::Component(loaded) => (Arc::clone(loaded), false),
            // The times of its steps add up, so they get a thread of their own.
            Code::Pipeline(_) => (call.fused.clone()?, true),
        };
        match self.call_here(routed, &loaded, decoded, call) {
            // A value is what the steps would return. Any other outcome has to come from the steps.
            RunEnd::Over(called) if is_fused && !called.is_whole() => {
                (call.started, call.fused) = (true, None);
                routed.tally.restarted();
                None
            }
            RunEnd::Over(called) => {
                routed.tally.ran_on(Lane::Fast);
                Some(called)
            }
            RunEnd::CutOff(called) if routed.limits().deadline() <= call.admitted.elapsed() => {
                routed.tally.ran_on(Lane::Fast);
                Some(called)
            }
            RunEnd::CutOff(_) => {
                call.started = true;
                routed.tally.restarted();
                None
            }
        }
    }

    /// Returns the stored result, if there is a usable one.
    async fn find_stored(
        &self,
        routed: &RoutedFunction,
        missing: &mut MissingResult<'_>,
        deadline: Instant,
    ) -> Option<StoredHit> {
        let runtime = &self.0.runtime;
        let request = missing.request.filter(|_| runtime.results().may_have_stored(routed))?;
        let (key, ttl, reading) = (missing.slot.key, routed.record.cache.ttl(), runtime.clone());
        // Includes the time until a thread is free.
        let deadline = deadline.min(Instant::now() + FIND_WAIT_MAX);
        let read = tokio::task::spawn_blocking(move || reading.results().find_stored(&key, ttl, deadline));
        let result = tokio::time::timeout_at(deadline.into(), read).await.ok()?.ok()??;
        runtime.results().promote(&mut missing.slot, &result);
        Some(StoredHit { outcome: self.hit(routed, &result, request, true), result })
    }

    /// Looks for a stored result first, then runs the call on the compute lane. With a lead, the
    /// run outlasts its caller while others wait.
    async fn lead_on_compute_lane(
        &self,
        routed: &Arc<RoutedFunction>,
        decoded: Decoded,
        call: Call,
        mut missing: MissingResult<'_>,
    ) -> CallOutcome {
        let (deadline, input_bytes) = (call.admitted + routed.limits().deadline(), call.input_bytes);
        let Some(lead) = missing.lead.take() else {
            if let Some(hit) = self.find_stored(routed, &mut missing, deadline).await {
                return hit.outcome;
            }
            let called = self.call_on_compute_lane(routed, decoded, call).await;
            return self.0.runtime.results().keep(routed, called, missing.slot, None);
        };
        // The caller waits until it disconnects.
        let _waiter = lead.waiter();
        let (answers, answered) = oneshot::channel();
        let (shard, routed) = (self.clone(), Arc::clone(routed));
        let MissingResult { slot: CacheSlot { key, spelling, no_store }, request, lead: _ } = missing;
        let spelling = spelling.map(Spelling::into_owned);
        let request = request.map(|CallRequest { request, prefer }| (request.clone(), prefer));
        tokio::spawn(async move {
            let request = request.as_ref().map(|(request, prefer)| CallRequest { request, prefer: *prefer });
            let slot = CacheSlot { key, spelling, no_store };
            let missing = MissingResult { slot, request, lead: None };
            if let Some(called) = shard.lead_detached(&routed, decoded, call, missing, lead).await
                // The leading caller may have disconnected; the others have their answer.
                && let Err(called) = answers.send(called)
            {
                shard.account(&routed, &called, input_bytes, CallIds::default());
            }
        });
        answered.await.unwrap_or_else(|_| {
            let error = CallError::Internal("the thread that ran the call has ended".to_owned());
            CallOutcome::failed(error, CallCost::default())
        })
    }

    /// Finds or computes the result of a flight and lands it. Returns `None` if the last caller
    /// left.
    async fn lead_detached(
        &self,
        routed: &Arc<RoutedFunction>,
        decoded: Decoded,
        call: Call,
        mut missing: MissingResult<'_>,
        lead: Lead,
    ) -> Option<CallOutcome> {
        let compute = self.find_or_compute(routed, decoded, call, &mut missing);
        let computed = tokio::select! {
            computed = compute => computed,
            () = lead.deserted() => return None,
        };
        Some(match computed {
            Computed::Stored(hit) => {
                lead.land(FlightOutcome::Answer(hit.result));
                hit.outcome
            }
            Computed::Run { outcome, lease } => {
                let kept = self.0.runtime.results().keep(routed, outcome, missing.slot, Some(lead));
                self.0.runtime.release_when_stored(lease);
                kept
            }
        })
    }

    /// Finds the stored result, or runs the call on the compute lane of this or another host. Of
    /// several hosts that miss the same result at the same time, one runs the call, if it can store
    /// the result.
    async fn find_or_compute(
        &self,
        routed: &Arc<RoutedFunction>,
        decoded: Decoded,
        call: Call,
        missing: &mut MissingResult<'_>,
    ) -> Computed {
        let deadline = call.admitted + routed.limits().deadline();
        if let Some(hit) = self.find_stored(routed, missing, deadline).await {
            return Computed::Stored(hit);
        }
        let lease = match self.lease(&call, &missing.slot, deadline).await {
            Lease::Granted(guard) => guard,
            Lease::Released => {
                if let Some(hit) = self.find_stored(routed, missing, deadline).await {
                    return Computed::Stored(hit);
                }
                // The result can't be stored, or the other host failed. The hosts that waited for
                // it run the call at the same time, not one after the other.
                LeaseGuard::local()
            }
        };
        Computed::Run { outcome: self.call_on_compute_lane(routed, decoded, call).await, lease }
    }

    /// Asks the other hosts, if there are any, for the right to compute a result.
    async fn lease(&self, call: &Call, slot: &CacheSlot<'_>, deadline: Instant) -> Lease {
        let peers = self.0.runtime.peers();
        // A call that waits with a slot could keep it from the call that it waits for. A call of
        // another host may be covered by that host's lease. Other hosts would wait in vain for a
        // result that isn't stored.
        let needs_none = call.slot.is_some() || call.origin == Host::Peer || slot.no_store;
        if needs_none || !peers.has_peers() {
            return Lease::Granted(LeaseGuard::local());
        }
        // The other half of the time is left to run the call here.
        let now = Instant::now();
        peers.lease(slot.key, now + deadline.saturating_duration_since(now) / 2).await
    }

    /// Decodes a call and computes its key. The call holds its slot from then on.
    pub(super) async fn decode_on_compute_lane(
        &self,
        routed: &Arc<RoutedFunction>,
        request: CallRequest<'_>,
        call: &mut Call,
    ) -> Result<DecodedCall, Box<CallOutcome>> {
        let slot = self.compute_slot(routed, call.admitted, call.started).await?;
        call.started = true;
        let (code, function_key) = (call.code.clone(), *routed.key());
        let CallRequest { request, prefer } = request;
        let request = request.clone();
        let decode = move || {
            let decoded = invoke::decode(code.interface(), CallRequest { request: &request, prefer })?;
            let key = function_key.of(&decoded.input, decoded.raw);
            Ok((DecodedCall { decoded, key }, slot))
        };
        let decoded =
            self.0.runtime.executor().lane().run(decode).await.map_err(CallError::Internal).flatten();
        let (decoded, slot) =
            decoded.map_err(|error| Box::new(CallOutcome::failed(error, CallCost::default())))?;
        call.slot = Some(slot);
        Ok(decoded)
    }
}

/// The outcome of [`Shard::find_or_compute`].
enum Computed {
    Stored(StoredHit),
    /// The lease is held until the result is stored.
    Run {
        outcome: CallOutcome,
        lease: LeaseGuard,
    },
}

/// A pipeline's run, in the mode in which it started.
struct Trial {
    mode: ExecutionMode,
    begun: Instant,
}

impl Trial {
    /// Records how long a pipeline took, with the time `lost` on a failed attempt. The time in the
    /// queue doesn't count, nor does a call that was refused.
    fn record(&self, routed: &RoutedFunction, lost: Duration, called: &CallOutcome) {
        let is_its_own = called.result.as_ref().err().is_none_or(|error| error.fault() == Fault::Guest);
        let has_run =
            is_its_own && called.answered_by == Host::This && matches!(called.source, Source::Ran { .. });
        if let Some(composed) = routed.composed().filter(|_| has_run) {
            composed.fusion_trial().record(self.mode, lost + called.cost.start + called.cost.run);
        }
    }
}
