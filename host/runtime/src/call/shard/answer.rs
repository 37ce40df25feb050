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

use std::sync::Arc;
use std::time::{Duration, Instant};

use nebula_cache::{Key, Spelling};
use nebula_model::caching::{Because, CacheDirectives, Source};
use nebula_model::cost::CallCost;
use nebula_model::form::Form;
use nebula_model::id::{FunctionRef, Selector};
use nebula_model::request::{Prefer, Request};

use super::call::Call;
use super::compute::{DecodedCall, MissingResult};
use super::{RepeatableAnswer, RoutedFunction, Shard};
use crate::cache::{CachedResult, FlightOutcome, Waiter};
use crate::call::events::CallIds;
use crate::call::invoke;
use crate::call::invoke::{CallOutcome, CallRequest};
use crate::call::lookup::{CacheSlot, Lookup};
use crate::error::{CallError, Fault};
use crate::peers::{Host, PeerAnswer, PeerCall};
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
        self.answer(routed, request, prefer, directives, CallIds::default()).await.outcome
    }

    /// Answers one call. If the answer was in memory and has no time to live, it can be
    /// [repeated](Self::repeat) for a call that was sent identically. The log of the call has the
    /// `ids`.
    ///
    /// # Cancel safety
    /// The same as for [`call`](Self::call).
    pub async fn answer(
        &self,
        routed: &Arc<RoutedFunction>,
        request: Request,
        prefer: Prefer,
        directives: CacheDirectives,
        ids: CallIds<'_>,
    ) -> AnsweredCall {
        let request = CallRequest { request: &request, prefer };
        self.answer_from(Host::This, routed, request, directives, ids).await
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
        let outcome =
            self.answer_from(Host::Peer, &routed, request, directives, CallIds::default()).await.outcome;
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
        origin: Host,
        routed: &Arc<RoutedFunction>,
        request: CallRequest<'_>,
        directives: CacheDirectives,
        ids: CallIds<'_>,
    ) -> AnsweredCall {
        self.begin();
        let (runtime, ttl) = (&self.0.runtime, routed.record.cache.ttl());
        let input_bytes = request.request.input_bytes() as u64;
        let spelling = match routed.caches() {
            true => Spelling::of(routed.key(), request.prefer, request.request),
            false => None,
        };
        if let Some(spelling) = &spelling
            && !directives.no_cache
            && let Some((key, cached)) = runtime.results().cache().get_spelled(spelling, ttl)
        {
            let outcome = self.hit(routed, &cached, request, false);
            self.account(routed, &outcome, input_bytes, ids);
            let no_store = directives.no_store;
            let repeatable = RepeatableAnswer::of(routed, key, &cached, &outcome, no_store, input_bytes);
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
        self.account(routed, &answered.outcome, input_bytes, ids);
        answered
    }

    /// Records the outcome of a call in the counts and the log.
    pub(super) fn account(
        &self,
        routed: &RoutedFunction,
        called: &CallOutcome,
        input_bytes: u64,
        ids: CallIds<'_>,
    ) {
        if called.answered_by == Host::Peer {
            return;
        }
        routed.tally.end(called, routed.caches(), input_bytes);
        self.0.runtime.results().record_log(routed, called, ids);
    }

    /// Answers a call that isn't cached by its `spelling`, if it has one that may be looked up. Its
    /// result may be in memory all the same.
    async fn look_up_or_run(
        &self,
        origin: Host,
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
        let input_bytes = request.request.input_bytes() as u64;
        let call = Call {
            fused,
            code,
            begun,
            input_bytes,
            admitted,
            started,
            slot,
            directives,
            origin,
            forwardable,
        };
        // A function of the http form sees `no-cache`: its call is a different one, which is never
        // looked up.
        let no_store = directives.no_store || (directives.no_cache && form == Form::Http);
        let spelling = spelling.filter(|_| !no_store);
        if !is_light {
            let spelling = spelling.map(Spelling::into_owned);
            let slot = |key| CacheSlot { key, spelling, no_store };
            return Box::pin(self.run_heavy(routed, request, call, slot)).await.into();
        }
        let decoded = match invoke::decode(call.code.interface(), request) {
            Ok(decoded) => decoded,
            Err(error) => return CallOutcome::failed(error, CallCost::default()).into(),
        };
        if !caches {
            return self.compute(routed, decoded, call, None).await.into();
        }
        let key = routed.key().of(&decoded.input, decoded.raw);
        let slot = CacheSlot { key, spelling, no_store };
        let missing = match self.look_up(routed, request, &call, slot) {
            Found::Hit(cached) => {
                let outcome = self.hit(routed, &cached, request, false);
                let repeatable = RepeatableAnswer::of(routed, key, &cached, &outcome, no_store, input_bytes);
                return AnsweredCall { outcome, repeatable };
            }
            Found::Missing(missing) => missing,
            Found::InFlight(waiter, missing) => match collapse(routed, &waiter, &call).await {
                Some(called) => return called.into(),
                None => missing,
            },
        };
        self.compute(routed, decoded, call, Some(missing)).await.into()
    }

    /// Returns the call as another host would answer it, if there may be one.
    fn forwardable(
        &self,
        origin: Host,
        routed: &RoutedFunction,
        request: CallRequest<'_>,
        directives: CacheDirectives,
    ) -> Option<Box<PeerCall>> {
        if origin == Host::Peer || !self.0.runtime.peers().has_peers() {
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
        mut call: Call,
        slot: impl FnOnce(Key) -> CacheSlot<'static>,
    ) -> CallOutcome {
        let DecodedCall { decoded, key } = match self.decode_on_compute_lane(routed, request, &mut call).await
        {
            Ok(decoded) => decoded,
            Err(refused) => return self.forward_or(*refused, routed, &mut call).await,
        };
        if !routed.caches() {
            return self.compute(routed, decoded, call, None).await;
        }
        let slot = slot(key);
        let (waiter, missing) = match self.look_up(routed, request, &call, slot) {
            Found::Hit(cached) => return self.hit(routed, &cached, request, false),
            Found::Missing(missing) => return self.compute(routed, decoded, call, Some(missing)).await,
            Found::InFlight(waiter, missing) => (waiter, missing),
        };
        // Hold neither the slot nor the decoded input while another call computes the result.
        drop(decoded);
        call.slot = None;
        if let Some(called) = collapse(routed, &waiter, &call).await {
            return called;
        }
        match self.decode_on_compute_lane(routed, request, &mut call).await {
            Ok(DecodedCall { decoded, .. }) => self.compute(routed, decoded, call, Some(missing)).await,
            Err(called) => *called,
        }
    }

    /// Looks a result up, unless the caller said `no-cache`.
    fn look_up<'a>(
        &self,
        routed: &RoutedFunction,
        request: CallRequest<'a>,
        call: &Call,
        mut slot: CacheSlot<'a>,
    ) -> Found<'a> {
        if call.directives.no_cache {
            return Found::Missing(MissingResult { slot, request: None, lead: None });
        }
        let found = self.0.runtime.results().look_up(routed, &mut slot);
        let missing = |lead| MissingResult { slot, request: Some(request), lead };
        match found {
            Lookup::Hit(cached) => Found::Hit(cached),
            Lookup::Lead(lead) => Found::Missing(missing(Some(lead))),
            // The execution may itself wait for the other host's lease.
            Lookup::Wait(_) if call.origin == Host::Peer => Found::Missing(missing(None)),
            Lookup::Wait(waiter) => Found::InFlight(waiter, missing(None)),
        }
    }

    /// Turns a cached result into an answer. A sample of them is recomputed later.
    pub(super) fn hit(
        &self,
        routed: &RoutedFunction,
        cached: &Arc<CachedResult>,
        request: CallRequest<'_>,
        on_disk: bool,
    ) -> CallOutcome {
        let hits = routed.tally.hit(cached.cost, on_disk);
        let runtime = &self.0.runtime;
        if runtime.verification().samples(routed.sampled_from.wrapping_add(hits)) {
            runtime.verify(&routed.function, request, cached);
        }
        let age_s = cached.age_s();
        let ttl_s = routed.record.cache.ttl_s.map(|ttl| ttl.get().saturating_sub(age_s));
        CallOutcome::cached(cached, Source::Cached { age_s, ttl_s, on_disk }, CallCost::default())
    }
}

/// The outcome of looking up a call's result.
enum Found<'a> {
    Hit(Arc<CachedResult>),
    /// The call computes it.
    Missing(MissingResult<'a>),
    /// Another call computes it. If that fails, this call runs for itself, so that no other call's
    /// deadline decides its outcome.
    InFlight(Waiter, MissingResult<'a>),
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
            Some(CallOutcome::cached(&cached, Source::Collapsed, cost))
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
