//! The path of a call to its answer: cached, in flight, or run.
//!
//! ```text
//! as sent -> cached? -> decoded -> cached? -> in flight? -> fast lane ------------> cached, landed
//!                                                   \-> on disk? -> compute lane ---^
//! ```
//!
//! Invariants:
//! * Identical calls at the same time are one execution, which goes on while any caller waits for
//!   it.
//! * A result is cached before its flight ends, so a later caller finds the one or the other.
//! * A call waits for another's execution until its own deadline at most.
//! * A result on disk took long to compute. The disk is read only where the call would take long
//!   again, and no other call waits for the read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nebula_cache::Key;
use nebula_cache::Spelling;
use nebula_engine::CallLog;
use nebula_engine::Loaded;
use nebula_model::cost::CallCost;
use nebula_model::form::Form;
use nebula_model::remember::{Because, CacheDirectives, Source};
use nebula_model::request::{Prefer, Request};
use nebula_pipeline::ExecutionMode;
use tokio::sync::oneshot;

use super::{RepeatableAnswer, RoutedFunction, Shard};
use crate::cached::{Interest, Landed, Lead, Remembered};
use crate::call::invoke;
use crate::call::invoke::{CallOutcome, Decoded, RunEnd};
use crate::call::keep::CacheSlot;
use crate::call::lane;
use crate::call::lookup::Lookup;
use crate::error::{CallError, Fault};
use crate::run::code::Code;

/// The place of an answer in the cache.
struct Sought<'a> {
    place: CacheSlot<'a>,
    /// The request, if it may be answered from disk.
    asked: Option<(&'a Request, Prefer)>,
}

/// A call in progress.
pub(super) struct Call {
    /// The code on which it starts.
    pub(super) code: Code,
    pub(super) begun: Instant,
    /// Start of the deadline.
    pub(super) admitted: Instant,
    /// It has started, so it can't be shed any more and can't run on the fast lane.
    pub(super) started: bool,
    /// Its slot on the compute lane, if it has one.
    pub(super) place: Option<lane::LaneSlot>,
    /// The caller's cache directives.
    pub(super) directives: CacheDirectives,
    /// The linked component of a chain that is to run as one.
    pub(super) fused: Option<Arc<Loaded>>,
}

impl Call {
    /// Returns the mode in which a chain starts.
    fn mode(&self) -> ExecutionMode {
        if self.fused.is_some() { ExecutionMode::Fused } else { ExecutionMode::Stepwise }
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
        met: &Arc<RoutedFunction>,
        request: Request,
        prefer: Prefer,
        directives: CacheDirectives,
    ) -> CallOutcome {
        self.answer(met, request, prefer, directives).await.0
    }

    /// Answers one call. If the answer was in memory and has no time to live, it can be
    /// [reused](Self::give_again) for a call that was sent identically.
    ///
    /// # Cancel safety
    /// The same as for [`call`](Self::call).
    pub async fn answer(
        &self,
        met: &Arc<RoutedFunction>,
        request: Request,
        prefer: Prefer,
        directives: CacheDirectives,
    ) -> (CallOutcome, Option<RepeatableAnswer>) {
        self.begin();
        let (runtime, ttl) = (&self.0.runtime, met.record.remember.ttl());
        let spelling = if met.remembers() { Spelling::of(met.key(), prefer, &request) } else { None };
        if let Some(spelling) = &spelling
            && !directives.no_cache
            && let Some((key, remembered)) = runtime.results().cache().get_spelled(spelling, ttl)
        {
            let called = self.recalled(met, &remembered, (&request, prefer), false);
            self.account(met, &called);
            let given = RepeatableAnswer::of(met, key, &remembered, &called, directives.no_store);
            return (called, given);
        }
        let mut given = None;
        // A separate future, because it is large: a cached answer needs none of it.
        let recall_or_run = self.recall_or_run(met, &request, prefer, directives, spelling, &mut given);
        let mut called = Box::pin(recall_or_run).await;
        if met.remembers()
            && let Source::Ran { because, .. } = &mut called.source
        {
            *because = if directives.no_cache { Because::Asked } else { Because::Missed };
        }
        self.account(met, &called);
        (called, given)
    }

    /// Records the outcome of a call in the counts and the log.
    fn account(&self, met: &RoutedFunction, called: &CallOutcome) {
        let fault = called.result.as_ref().err().map(|error| error.fault());
        let ran = matches!(called.source, Source::Ran { .. })
            && !matches!(fault, Some(Fault::Caller | Fault::Load));
        if met.remembers() && ran {
            met.tally.miss();
        }
        self.0.runtime.results().record_log(met, called);
    }

    /// Answers a call that isn't cached by its `spelling`, if it has one that may be looked up.
    /// Sets `again` if the result is in memory all the same and may be reused.
    async fn recall_or_run(
        &self,
        met: &Arc<RoutedFunction>,
        request: &Request,
        prefer: Prefer,
        directives: CacheDirectives,
        spelling: Option<Spelling<'_>>,
        again: &mut Option<RepeatableAnswer>,
    ) -> CallOutcome {
        let form = met.record.description.form;
        let remembers = met.remembers();
        let begun = Instant::now();
        let code = match self.loaded(met).await {
            Ok(code) => code,
            Err(error) => return CallOutcome::failed(CallError::Load(error), CallCost::default()),
        };
        // Loading doesn't count against the call's deadline.
        let fused = match &code {
            Code::Component(_) => None,
            Code::Pipeline(staged) => self.fused(met, staged),
        };
        let call =
            Call { fused, code, begun, admitted: Instant::now(), started: false, place: None, directives };
        // A function of the http form sees `no-cache`: its call is a different one, which is never
        // looked up.
        let no_store = directives.no_store || (directives.no_cache && form == Form::Http);
        let spelling = spelling.filter(|_| !no_store);
        if !request.is_light(form, remembers) {
            let spelling = spelling.map(Spelling::into_owned);
            let place = |key| CacheSlot { key, spelling, no_store };
            return Box::pin(self.run_heavy(met, request, prefer, directives, call, place)).await;
        }
        let decoded = match invoke::decode(call.code.interface(), request, prefer) {
            Ok(decoded) => decoded,
            Err(error) => return CallOutcome::failed(error, CallCost::default()),
        };
        if !remembers {
            return self.run(met, decoded, call).await;
        }
        let key = met.key().of(&decoded.input, decoded.raw);
        let mut place = CacheSlot { key, spelling, no_store };
        if directives.no_cache {
            return self.lead(met, decoded, call, Sought { place, asked: None }, None).await;
        }
        let asked = (request, prefer);
        let found = self.0.runtime.results().look_up(met, &mut place);
        let sought = Sought { place, asked: Some(asked) };
        match found {
            Lookup::Hit(remembered) => {
                let called = self.recalled(met, &remembered, asked, false);
                *again = RepeatableAnswer::of(met, key, &remembered, &called, no_store);
                called
            }
            Lookup::Lead(lead) => self.lead(met, decoded, call, sought, Some(lead)).await,
            Lookup::Wait(interest) => match collapse(met, &interest, &call).await {
                Some(called) => called,
                // It runs alone this time, so that no other call's deadline decides its outcome.
                None => self.lead(met, decoded, call, sought, None).await,
            },
        }
    }

    /// Answers a call that takes long to decode or to hash: all of it on the compute lane.
    async fn run_heavy(
        &self,
        met: &Arc<RoutedFunction>,
        request: &Request,
        prefer: Prefer,
        directives: CacheDirectives,
        mut call: Call,
        place: impl FnOnce(Key) -> CacheSlot<'static>,
    ) -> CallOutcome {
        let (decoded, key) = match self.decode_on_compute_lane(met, request, prefer, &mut call).await {
            Ok(decoded) => decoded,
            Err(called) => return *called,
        };
        if !met.remembers() {
            return self.run(met, decoded, call).await;
        }
        let mut place: CacheSlot<'_> = place(key);
        if directives.no_cache {
            return self.lead(met, decoded, call, Sought { place, asked: None }, None).await;
        }
        let asked = (request, prefer);
        let found = self.0.runtime.results().look_up(met, &mut place);
        let sought = Sought { place, asked: Some(asked) };
        let interest = match found {
            Lookup::Hit(remembered) => return self.recalled(met, &remembered, asked, false),
            Lookup::Lead(lead) => return self.lead(met, decoded, call, sought, Some(lead)).await,
            Lookup::Wait(interest) => interest,
        };
        // Hold neither the slot nor the decoded input while another call computes the result.
        drop(decoded);
        call.place = None;
        if let Some(called) = collapse(met, &interest, &call).await {
            return called;
        }
        match self.decode_on_compute_lane(met, request, prefer, &mut call).await {
            Ok((decoded, _)) => self.lead(met, decoded, call, sought, None).await,
            Err(called) => *called,
        }
    }

    /// Turns a cached result into an answer. A sample of them is recomputed later.
    fn recalled(
        &self,
        met: &RoutedFunction,
        remembered: &Arc<Remembered>,
        asked: (&Request, Prefer),
        on_disk: bool,
    ) -> CallOutcome {
        let hits = met.tally.hit(remembered.cost);
        let runtime = &self.0.runtime;
        if runtime.verification().samples(met.sampled_from.wrapping_add(hits)) {
            runtime.verify(&met.function, asked, remembered);
        }
        let age_s = remembered.age_s();
        let ttl_s = met.record.remember.ttl_s.map(|ttl| ttl.get().saturating_sub(age_s));
        answered(remembered, Source::Remembered { age_s, ttl_s, on_disk }, CallCost::default())
    }

    /// Returns the result on disk, if there is a usable one.
    async fn read(
        &self,
        met: &RoutedFunction,
        sought: &mut Sought<'_>,
    ) -> Option<(CallOutcome, Arc<Remembered>)> {
        let runtime = &self.0.runtime;
        let asked = sought.asked.filter(|_| runtime.results().may_be_on_disk(met))?;
        let (key, ttl, reading) = (sought.place.key, met.record.remember.ttl(), runtime.clone());
        let read = move || reading.results().find_on_disk(&key, ttl);
        let found = tokio::task::spawn_blocking(read).await.ok()??;
        runtime.results().promote(&mut sought.place, &found);
        Some((self.recalled(met, &found, asked, true), found))
    }

    /// Runs a call, caches its result and lands it for the callers who wait.
    async fn lead(
        &self,
        met: &Arc<RoutedFunction>,
        decoded: Decoded,
        mut call: Call,
        sought: Sought<'_>,
        lead: Option<Lead>,
    ) -> CallOutcome {
        if met.composed().is_some() {
            return Box::pin(self.lead_pipeline(met, decoded, call, sought, lead)).await;
        }
        match self.try_here(met, &decoded, &mut call) {
            Some(called) => self.0.runtime.results().keep(met, called, sought.place, lead),
            // Rare and large: boxed, so that it isn't moved with every request.
            None => Box::pin(self.lead_on_compute_lane(met, decoded, call, sought, lead)).await,
        }
    }

    /// Runs a pipeline: as one component, if it is a linked chain and that is faster, or step by
    /// step.
    async fn lead_pipeline(
        &self,
        met: &Arc<RoutedFunction>,
        decoded: Decoded,
        mut call: Call,
        sought: Sought<'_>,
        lead: Option<Lead>,
    ) -> CallOutcome {
        let (mode, begun) = (call.mode(), Instant::now());
        let called = self.try_here(met, &decoded, &mut call);
        let lost = if called.is_none() { begun.elapsed() } else { Duration::ZERO };
        let called = match called {
            Some(called) => self.0.runtime.results().keep(met, called, sought.place, lead),
            None => self.lead_on_compute_lane(met, decoded, call, sought, lead).await,
        };
        learn(met, mode, lost, &called);
        called
    }

    /// Runs a call whose result isn't cached.
    async fn run(&self, met: &Arc<RoutedFunction>, decoded: Decoded, mut call: Call) -> CallOutcome {
        let (mode, begun) = (call.mode(), Instant::now());
        if let Some(called) = self.try_here(met, &decoded, &mut call) {
            learn(met, mode, Duration::ZERO, &called);
            return called;
        }
        let lost = begun.elapsed();
        let called = Box::pin(self.call_on_compute_lane(met, decoded, call)).await;
        learn(met, mode, lost, &called);
        called
    }

    /// Runs a call on the fast lane, if the function may use it. `None` if the call has to go to
    /// the compute lane.
    fn try_here(&self, met: &Arc<RoutedFunction>, decoded: &Decoded, call: &mut Call) -> Option<CallOutcome> {
        if call.started || met.history().is_long() {
            return None;
        }
        let (loaded, is_fused) = match &call.code {
            Code::Component(loaded) => (Arc::clone(loaded), false),
            // The times of its steps add up, so they get a thread of their own.
            Code::Pipeline(_) => (call.fused.clone()?, true),
        };
        match self.call_here(met, &loaded, decoded, call) {
            // A value is what the steps would return. Any other outcome has to come from the steps.
            RunEnd::Over(called) if is_fused && !called.is_whole() => {
                (call.started, call.fused) = (true, None);
                None
            }
            RunEnd::Over(called) => Some(called),
            RunEnd::CutOff(called) if met.limits().deadline() <= call.admitted.elapsed() => Some(called),
            RunEnd::CutOff(_) => {
                call.started = true;
                None
            }
        }
    }

    /// Looks for the result on disk first, then runs the call on the compute lane. With a lead, the
    /// run outlasts its caller while others wait.
    async fn lead_on_compute_lane(
        &self,
        met: &Arc<RoutedFunction>,
        decoded: Decoded,
        call: Call,
        mut sought: Sought<'_>,
        lead: Option<Lead>,
    ) -> CallOutcome {
        let Some(lead) = lead else {
            if let Some((called, _)) = self.read(met, &mut sought).await {
                return called;
            }
            let called = self.call_on_compute_lane(met, decoded, call).await;
            return self.0.runtime.results().keep(met, called, sought.place, None);
        };
        // The caller's interest, until it disconnects.
        let _interest = lead.interest();
        let (answers, answered) = oneshot::channel();
        let (shard, met) = (self.clone(), Arc::clone(met));
        let Sought { place: CacheSlot { key, spelling, no_store }, asked } = sought;
        let spelling = spelling.map(Spelling::into_owned);
        let asked = asked.map(|(request, prefer)| (request.clone(), prefer));
        tokio::spawn(async move {
            let asked = asked.as_ref().map(|(request, prefer)| (request, *prefer));
            let mut sought = Sought { place: CacheSlot { key, spelling, no_store }, asked };
            let answer = async {
                match shard.read(&met, &mut sought).await {
                    Some((called, found)) => (called, Some(found)),
                    None => (shard.call_on_compute_lane(&met, decoded, call).await, None),
                }
            };
            let (called, found) = tokio::select! {
                answered = answer => answered,
                () = lead.deserted() => return,
            };
            let called = match found {
                Some(found) => {
                    lead.land(Landed::Answer(found));
                    called
                }
                None => shard.0.runtime.results().keep(&met, called, sought.place, Some(lead)),
            };
            // The leading caller may have disconnected; the others have their answer.
            if let Err(called) = answers.send(called) {
                shard.account(&met, &called);
            }
        });
        answered.await.unwrap_or_else(|_| {
            let error = CallError::Internal("the thread that ran the call has ended".to_owned());
            CallOutcome::failed(error, CallCost::default())
        })
    }

    /// Decodes a call and computes its key. The call holds its slot from then on.
    async fn decode_on_compute_lane(
        &self,
        met: &Arc<RoutedFunction>,
        request: &Request,
        prefer: Prefer,
        call: &mut Call,
    ) -> Result<(Decoded, Key), Box<CallOutcome>> {
        let place = self.place_on_compute_lane(met, call.admitted, call.started).await?;
        call.started = true;
        let (code, function_key, request) = (call.code.clone(), *met.key(), request.clone());
        let decode = move || {
            let decoded = invoke::decode(code.interface(), &request, prefer)?;
            let key = function_key.of(&decoded.input, decoded.raw);
            Ok((decoded, key, place))
        };
        let decoded =
            self.0.runtime.executor().lane().run(decode).await.map_err(CallError::Internal).flatten();
        let (decoded, key, place) =
            decoded.map_err(|error| Box::new(CallOutcome::failed(error, CallCost::default())))?;
        call.place = Some(place);
        Ok((decoded, key))
    }
}

/// Records how long a pipeline took in this mode, with the time `lost` on a failed attempt. The
/// time in the queue doesn't count, nor does a call that was refused.
fn learn(met: &RoutedFunction, mode: ExecutionMode, lost: Duration, called: &CallOutcome) {
    let is_its_own = called.result.as_ref().err().is_none_or(|error| error.fault() == Fault::Guest);
    let has_run = is_its_own && matches!(called.source, Source::Ran { .. });
    if let Some(composed) = met.composed().filter(|_| has_run) {
        composed.fusion_trial().record(mode, lost + called.cost.start + called.cost.run);
    }
}

/// Waits for another call's execution; `None` if it yields no result for this call.
async fn collapse(met: &RoutedFunction, interest: &Interest, call: &Call) -> Option<CallOutcome> {
    let deadline = tokio::time::Instant::from_std(call.admitted + met.limits().deadline());
    let landed = tokio::time::timeout_at(deadline, interest.landed()).await;
    // The whole time was spent waiting for another call's execution.
    let cost = CallCost { queue: call.begun.elapsed(), ..CallCost::default() };
    match landed {
        Ok(Some(Landed::Answer(remembered))) => {
            met.tally.collapsed(remembered.cost);
            Some(answered(&remembered, Source::Collapsed, cost))
        }
        Ok(Some(Landed::Failed(error))) => {
            met.tally.collapsed(Duration::ZERO);
            Some(CallOutcome { source: Source::Collapsed, ..CallOutcome::failed(error, cost) })
        }
        Ok(None) => None,
        Err(_) => {
            let deadline_ms = met.limits().deadline_ms.get();
            let error = CallError::DeadlineExceeded { deadline_ms, log_tail: String::new() };
            Some(CallOutcome { source: Source::Collapsed, ..CallOutcome::failed(error, cost) })
        }
    }
}

fn answered(remembered: &Remembered, source: Source, cost: CallCost) -> CallOutcome {
    CallOutcome {
        result: remembered.result.clone(),
        cost,
        log: CallLog::default(),
        source,
        content_hash: remembered.content_hash,
        engine: remembered.engine.clone(),
        trace: None,
        denied: false,
    }
}
