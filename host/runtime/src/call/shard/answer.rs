//! The path of a call to its answer: cached, in flight, or run.
//!
//! ```text
//! as sent -> cached? -> decoded -> cached? -> in flight? -> fast lane ----------------------> cached, landed
//!                                                   \-> stored? -> leased? -> compute lane ---^
//! ```
//!
//! Invariants:
//! * Identical calls at the same time are one execution, which goes on while any caller waits for
//!   it. Only a call of another host may run beside it.
//! * A result is cached before its flight ends, so a later caller finds the flight or the result.
//! * A call waits for another's execution until its own deadline at most.
//! * A stored result took long to compute. The store is read only where the call would take long
//!   again, and no other call waits for the read.
//! * A call that holds a slot on the compute lane waits for no other host.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nebula_cache::{Key, Spelling};
use nebula_engine::CallLog;
use nebula_model::cost::CallCost;
use nebula_model::form::Form;
use nebula_model::id::{FunctionRef, Selector};
use nebula_model::remember::{Because, CacheDirectives, Source};
use nebula_model::request::{Prefer, Request};
use nebula_pipeline::ExecutionMode;
use tokio::sync::oneshot;

use super::call::{Call, Origin};
use super::{RepeatableAnswer, RoutedFunction, Shard};
use crate::cache::{CachedResult, FlightOutcome, Lead, Waiter};
use crate::call::invoke;
use crate::call::invoke::{CallOutcome, CallRequest, Decoded, RunEnd};
use crate::call::lookup::{CacheSlot, FIND_WAIT_MAX, Lookup};
use crate::error::{CallError, Fault};
use crate::peers::{Lease, LeaseGuard, PeerAnswer, PeerCall};
use crate::run::code::Code;

/// The answer of a call.
pub struct AnsweredCall {
    /// The outcome of the call.
    pub outcome: CallOutcome,
    /// The answer for a call that is sent identically, if it can be reused.
    pub repeatable: Option<RepeatableAnswer>,
}

impl From<CallOutcome> for AnsweredCall {
    /// Returns an answer that can't be reused.
    fn from(outcome: CallOutcome) -> Self {
        Self { outcome, repeatable: None }
    }
}

/// A result that isn't in memory.
struct MissingResult<'a> {
    /// Its place in the cache.
    slot: CacheSlot<'a>,
    /// The request, if a stored result may answer it.
    request: Option<CallRequest<'a>>,
}

/// A result that was stored, and the outcome of the call that it answers.
struct StoredHit {
    outcome: CallOutcome,
    result: Arc<CachedResult>,
}

/// The input of a call that was decoded on the compute lane.
struct DecodedCall {
    decoded: Decoded,
    key: Key,
}

impl Shard {
    /// Answers one call.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the call. A run on the compute lane is aborted at the next
    /// tick, unless other callers wait for the same result.
    pub async fn call(
        &self,
        routed: &Arc<RoutedFunction>,
        request: Request,
        prefer: Prefer,
        directives: CacheDirectives,
    ) -> CallOutcome {
        self.answer(routed, request, prefer, directives).await.outcome
    }

    /// Answers one call. If the answer was in memory and has no time to live, it can be
    /// [repeated](Self::repeat) for a call that was sent identically.
    ///
    /// # Cancel safety
    /// The same as for [`call`](Self::call).
    pub async fn answer(
        &self,
        routed: &Arc<RoutedFunction>,
        request: Request,
        prefer: Prefer,
        directives: CacheDirectives,
    ) -> AnsweredCall {
        let request = CallRequest { request: &request, prefer };
        self.answer_from(Origin::Here, routed, request, directives).await
    }

    /// Answers a call that another host forwarded or offered. It isn't forwarded again. Returns
    /// `None` if this host has another version of the function, has no room or fails.
    ///
    /// # Cancel safety
    /// The same as for [`call`](Self::call).
    pub async fn answer_peer(&self, call: PeerCall) -> Option<PeerAnswer> {
        let PeerCall { function, key, request, prefer, directives } = call;
        let routed = self.find(&function).await.ok()?;
        if *routed.key() != key {
            return None;
        }
        let request = CallRequest { request: &request, prefer };
        let outcome = self.answer_from(Origin::Peer, &routed, request, directives).await.outcome;
        if matches!(outcome.source, Source::Ran { stored: true, .. }) {
            // The host that asked finds the result in the shared store from now on.
            self.0.runtime.results_stored().await;
        }
        match &outcome.result {
            // Another host, or the one that asked, may do better.
            Err(error) if matches!(error.fault(), Fault::Load | Fault::Host) => None,
            Ok(_) | Err(_) => Some(outcome.into()),
        }
    }

    async fn answer_from(
        &self,
        origin: Origin,
        routed: &Arc<RoutedFunction>,
        request: CallRequest<'_>,
        directives: CacheDirectives,
    ) -> AnsweredCall {
        self.begin();
        let (runtime, ttl) = (&self.0.runtime, routed.record.remember.ttl());
        let spelling = match routed.caches() {
            true => Spelling::of(routed.key(), request.prefer, request.request),
            false => None,
        };
        if let Some(spelling) = &spelling
            && !directives.no_cache
            && let Some((key, cached)) = runtime.results().cache().get_spelled(spelling, ttl)
        {
            let outcome = self.hit(routed, &cached, request, false);
            self.account(routed, &outcome);
            let repeatable = RepeatableAnswer::of(routed, key, &cached, &outcome, directives.no_store);
            return AnsweredCall { outcome, repeatable };
        }
        // A separate future, because it is large: a cached answer needs none of it.
        let look_up_or_run = self.look_up_or_run(origin, routed, request, directives, spelling);
        let mut answered = Box::pin(look_up_or_run).await;
        if routed.caches()
            && let Source::Ran { because, .. } = &mut answered.outcome.source
        {
            *because = if directives.no_cache { Because::Asked } else { Because::Missed };
        }
        self.account(routed, &answered.outcome);
        answered
    }

    /// Records the outcome of a call in the counts and the log.
    fn account(&self, routed: &RoutedFunction, called: &CallOutcome) {
        if called.by_peer {
            return;
        }
        let fault = called.result.as_ref().err().map(|error| error.fault());
        let ran = matches!(called.source, Source::Ran { .. })
            && !matches!(fault, Some(Fault::Caller | Fault::Load));
        if routed.caches() && ran {
            routed.tally.miss();
        }
        self.0.runtime.results().record_log(routed, called);
    }

    /// Answers a call that isn't cached by its `spelling`, if it has one that may be looked up. Its
    /// result may be in memory all the same.
    async fn look_up_or_run(
        &self,
        origin: Origin,
        routed: &Arc<RoutedFunction>,
        request: CallRequest<'_>,
        directives: CacheDirectives,
        spelling: Option<Spelling<'_>>,
    ) -> AnsweredCall {
        let form = routed.record.description.form;
        let caches = routed.caches();
        let begun = Instant::now();
        let code = match self.loaded(routed).await {
            Ok(code) => code,
            Err(error) => return CallOutcome::failed(CallError::Load(error), CallCost::default()).into(),
        };
        // Loading doesn't count against the call's deadline.
        let fused = match &code {
            Code::Component(_) => None,
            Code::Pipeline(staged) => Box::pin(self.fused(routed, staged)).await,
        };
        let is_light = request.request.is_light(form, caches);
        // A call that starts on the fast lane isn't shed, so it needs no other host.
        let needs_slot =
            !is_light || routed.history().is_long() || (fused.is_none() && routed.composed().is_some());
        let forwardable =
            if needs_slot { self.forwardable(origin, routed, request, directives) } else { None };
        let (admitted, started, slot) = (Instant::now(), false, None);
        let call = Call { fused, code, begun, admitted, started, slot, directives, origin, forwardable };
        // A function of the http form sees `no-cache`: its call is a different one, which is never
        // looked up.
        let no_store = directives.no_store || (directives.no_cache && form == Form::Http);
        let spelling = spelling.filter(|_| !no_store);
        if !is_light {
            let spelling = spelling.map(Spelling::into_owned);
            let slot = |key| CacheSlot { key, spelling, no_store };
            return Box::pin(self.run_heavy(routed, request, directives, call, slot)).await.into();
        }
        let decoded = match invoke::decode(call.code.interface(), request) {
            Ok(decoded) => decoded,
            Err(error) => return CallOutcome::failed(error, CallCost::default()).into(),
        };
        if !caches {
            return self.run(routed, decoded, call).await.into();
        }
        let key = routed.key().of(&decoded.input, decoded.raw);
        let mut slot = CacheSlot { key, spelling, no_store };
        if directives.no_cache {
            return self
                .lead(routed, decoded, call, MissingResult { slot, request: None }, None)
                .await
                .into();
        }
        let found = self.0.runtime.results().look_up(routed, &mut slot);
        let missing = MissingResult { slot, request: Some(request) };
        match found {
            Lookup::Hit(cached) => {
                let outcome = self.hit(routed, &cached, request, false);
                let repeatable = RepeatableAnswer::of(routed, key, &cached, &outcome, no_store);
                AnsweredCall { outcome, repeatable }
            }
            Lookup::Lead(lead) => self.lead(routed, decoded, call, missing, Some(lead)).await.into(),
            // The execution may itself wait for the other host's lease.
            Lookup::Wait(_) if origin == Origin::Peer => {
                self.lead(routed, decoded, call, missing, None).await.into()
            }
            Lookup::Wait(waiter) => match collapse(routed, &waiter, &call).await {
                Some(called) => called.into(),
                // It runs alone this time, so that no other call's deadline decides its outcome.
                None => self.lead(routed, decoded, call, missing, None).await.into(),
            },
        }
    }

    /// Returns the call as another host would answer it, if there may be one.
    fn forwardable(
        &self,
        origin: Origin,
        routed: &RoutedFunction,
        request: CallRequest<'_>,
        directives: CacheDirectives,
    ) -> Option<Box<PeerCall>> {
        if origin == Origin::Peer || !self.0.runtime.peers().has_peers() {
            return None;
        }
        let selector = Selector::Version(routed.record.version);
        Some(Box::new(PeerCall {
            function: FunctionRef { name: routed.record.name.clone(), selector },
            key: *routed.key(),
            request: request.request.clone(),
            prefer: request.prefer,
            directives,
        }))
    }

    /// Answers a call that takes long to decode or to hash: all of it on the compute lane.
    async fn run_heavy(
        &self,
        routed: &Arc<RoutedFunction>,
        request: CallRequest<'_>,
        directives: CacheDirectives,
        mut call: Call,
        slot: impl FnOnce(Key) -> CacheSlot<'static>,
    ) -> CallOutcome {
        let DecodedCall { decoded, key } = match self.decode_on_compute_lane(routed, request, &mut call).await
        {
            Ok(decoded) => decoded,
            Err(refused) => return self.forward_or(*refused, routed, &mut call).await,
        };
        if !routed.caches() {
            return self.run(routed, decoded, call).await;
        }
        let mut slot: CacheSlot<'_> = slot(key);
        if directives.no_cache {
            return self.lead(routed, decoded, call, MissingResult { slot, request: None }, None).await;
        }
        let found = self.0.runtime.results().look_up(routed, &mut slot);
        let missing = MissingResult { slot, request: Some(request) };
        let waiter = match found {
            Lookup::Hit(cached) => return self.hit(routed, &cached, request, false),
            Lookup::Lead(lead) => return self.lead(routed, decoded, call, missing, Some(lead)).await,
            // The execution may itself wait for the other host's lease.
            Lookup::Wait(_) if call.origin == Origin::Peer => {
                return self.lead(routed, decoded, call, missing, None).await;
            }
            Lookup::Wait(waiter) => waiter,
        };
        // Hold neither the slot nor the decoded input while another call computes the result.
        drop(decoded);
        call.slot = None;
        if let Some(called) = collapse(routed, &waiter, &call).await {
            return called;
        }
        match self.decode_on_compute_lane(routed, request, &mut call).await {
            Ok(DecodedCall { decoded, .. }) => self.lead(routed, decoded, call, missing, None).await,
            Err(called) => *called,
        }
    }

    /// Turns a cached result into an answer. A sample of them is recomputed later.
    fn hit(
        &self,
        routed: &RoutedFunction,
        cached: &Arc<CachedResult>,
        request: CallRequest<'_>,
        on_disk: bool,
    ) -> CallOutcome {
        let hits = routed.tally.hit(cached.cost);
        let runtime = &self.0.runtime;
        if runtime.verification().samples(routed.sampled_from.wrapping_add(hits)) {
            runtime.verify(&routed.function, request, cached);
        }
        let age_s = cached.age_s();
        let ttl_s = routed.record.remember.ttl_s.map(|ttl| ttl.get().saturating_sub(age_s));
        answered(cached, Source::Cached { age_s, ttl_s, on_disk }, CallCost::default())
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
        let (key, ttl, reading) = (missing.slot.key, routed.record.remember.ttl(), runtime.clone());
        // Includes the time until a thread is free.
        let deadline = deadline.min(Instant::now() + FIND_WAIT_MAX);
        let read = tokio::task::spawn_blocking(move || reading.results().find_stored(&key, ttl, deadline));
        let result = tokio::time::timeout_at(deadline.into(), read).await.ok()?.ok()??;
        runtime.results().promote(&mut missing.slot, &result);
        Some(StoredHit { outcome: self.hit(routed, &result, request, true), result })
    }

    /// Runs a call, caches its result and lands it for the callers who wait.
    async fn lead(
        &self,
        routed: &Arc<RoutedFunction>,
        decoded: Decoded,
        mut call: Call,
        missing: MissingResult<'_>,
        lead: Option<Lead>,
    ) -> CallOutcome {
        if routed.composed().is_some() {
            return Box::pin(self.lead_pipeline(routed, decoded, call, missing, lead)).await;
        }
        match self.try_here(routed, &decoded, &mut call) {
            Some(called) => self.0.runtime.results().keep(routed, called, missing.slot, lead),
            // Rare and large: boxed, so that it isn't moved with every request.
            None => Box::pin(self.lead_on_compute_lane(routed, decoded, call, missing, lead)).await,
        }
    }

    /// Runs a pipeline: as one component, if it is a linked chain and that is faster, or step by
    /// step.
    async fn lead_pipeline(
        &self,
        routed: &Arc<RoutedFunction>,
        decoded: Decoded,
        mut call: Call,
        missing: MissingResult<'_>,
        lead: Option<Lead>,
    ) -> CallOutcome {
        let (mode, begun) = (call.mode(), Instant::now());
        let called = self.try_here(routed, &decoded, &mut call);
        let lost = if called.is_none() { begun.elapsed() } else { Duration::ZERO };
        let called = match called {
            Some(called) => self.0.runtime.results().keep(routed, called, missing.slot, lead),
            None => self.lead_on_compute_lane(routed, decoded, call, missing, lead).await,
        };
        record_trial(routed, mode, lost, &called);
        called
    }

    /// Runs a call whose result isn't cached.
    async fn run(&self, routed: &Arc<RoutedFunction>, decoded: Decoded, mut call: Call) -> CallOutcome {
        let (mode, begun) = (call.mode(), Instant::now());
        if let Some(called) = self.try_here(routed, &decoded, &mut call) {
            record_trial(routed, mode, Duration::ZERO, &called);
            return called;
        }
        let lost = begun.elapsed();
        let called = Box::pin(self.call_on_compute_lane(routed, decoded, call)).await;
        record_trial(routed, mode, lost, &called);
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
                None
            }
            RunEnd::Over(called) => Some(called),
            RunEnd::CutOff(called) if routed.limits().deadline() <= call.admitted.elapsed() => Some(called),
            RunEnd::CutOff(_) => {
                call.started = true;
                None
            }
        }
    }

    /// Looks for a stored result first, then runs the call on the compute lane. With a lead, the
    /// run outlasts its caller while others wait.
    async fn lead_on_compute_lane(
        &self,
        routed: &Arc<RoutedFunction>,
        decoded: Decoded,
        call: Call,
        mut missing: MissingResult<'_>,
        lead: Option<Lead>,
    ) -> CallOutcome {
        let deadline = call.admitted + routed.limits().deadline();
        let Some(lead) = lead else {
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
        let MissingResult { slot: CacheSlot { key, spelling, no_store }, request } = missing;
        let spelling = spelling.map(Spelling::into_owned);
        let request = request.map(|CallRequest { request, prefer }| (request.clone(), prefer));
        tokio::spawn(async move {
            let request = request.as_ref().map(|(request, prefer)| CallRequest { request, prefer: *prefer });
            let slot = CacheSlot { key, spelling, no_store };
            let missing = MissingResult { slot, request };
            if let Some(called) = shard.lead_detached(&routed, decoded, call, missing, lead).await
                // The leading caller may have disconnected; the others have their answer.
                && let Err(called) = answers.send(called)
            {
                shard.account(&routed, &called);
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
        let needs_none = call.slot.is_some() || call.origin == Origin::Peer || slot.no_store;
        if needs_none || !peers.has_peers() {
            return Lease::Granted(LeaseGuard::local());
        }
        // The other half of the time is left to run the call here.
        let now = Instant::now();
        peers.lease(slot.key, now + deadline.saturating_duration_since(now) / 2).await
    }

    /// Decodes a call and computes its key. The call holds its slot from then on.
    async fn decode_on_compute_lane(
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

/// Records how long a pipeline took in this mode, with the time `lost` on a failed attempt. The
/// time in the queue doesn't count, nor does a call that was refused.
fn record_trial(routed: &RoutedFunction, mode: ExecutionMode, lost: Duration, called: &CallOutcome) {
    let is_its_own = called.result.as_ref().err().is_none_or(|error| error.fault() == Fault::Guest);
    let has_run = is_its_own && !called.by_peer && matches!(called.source, Source::Ran { .. });
    if let Some(composed) = routed.composed().filter(|_| has_run) {
        composed.fusion_trial().record(mode, lost + called.cost.start + called.cost.run);
    }
}

/// Waits for another call's execution; `None` if it yields no result for this call.
async fn collapse(routed: &RoutedFunction, waiter: &Waiter, call: &Call) -> Option<CallOutcome> {
    let deadline = tokio::time::Instant::from_std(call.admitted + routed.limits().deadline());
    let outcome = tokio::time::timeout_at(deadline, waiter.outcome()).await;
    // The whole time was spent waiting for another call's execution.
    let cost = CallCost { queue: call.begun.elapsed(), ..CallCost::default() };
    match outcome {
        Ok(Some(FlightOutcome::Answer(cached))) => {
            routed.tally.collapsed(cached.cost);
            Some(answered(&cached, Source::Collapsed, cost))
        }
        Ok(Some(FlightOutcome::Failed(error))) => {
            routed.tally.collapsed(Duration::ZERO);
            Some(CallOutcome { source: Source::Collapsed, ..CallOutcome::failed(error, cost) })
        }
        Ok(None) => None,
        Err(_) => {
            let deadline_ms = routed.limits().deadline_ms.get();
            let error = CallError::DeadlineExceeded { deadline_ms, log_tail: String::new() };
            Some(CallOutcome { source: Source::Collapsed, ..CallOutcome::failed(error, cost) })
        }
    }
}

fn answered(cached: &CachedResult, source: Source, cost: CallCost) -> CallOutcome {
    CallOutcome {
        result: cached.result.clone(),
        cost,
        log: CallLog::default(),
        source,
        content_hash: cached.content_hash,
        engine: cached.engine.clone(),
        trace: None,
        denied: false,
        by_peer: false,
    }
}
