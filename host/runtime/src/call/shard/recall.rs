//! A call's way to its answer: remembered, under way, or to be run.
//!
//! ```text
//! as it was sent -> remembered? -> decoded -> remembered? -> under way? -> fast lane --------------+
//!                                                                          \-> on disk? -> compute lane -> kept, and told to who waits
//! ```
//!
//! Invariants:
//! * Calls that ask the same at the same time are one execution, which goes on while anybody waits for it.
//! * An answer is kept before its flight ends: whoever comes later finds the one or the other.
//! * A call waits for another's execution until its own deadline at most.
//! * What is on disk took long to compute: it is looked for where the call would take long again, and nobody else waits for that.

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
use nebula_pipeline::Way;
use tokio::sync::oneshot;

use super::{Given, Met, Shard};
use crate::cached::{Interest, Landed, Lead, Remembered};
use crate::call::invoke;
use crate::call::invoke::{Called, Decoded, Outcome};
use crate::call::keep::Place;
use crate::call::lane;
use crate::call::lookup::Lookup;
use crate::error::{CallError, Fault};
use crate::run::code::Code;

/// Where an answer is looked for, and kept.
struct Sought<'a> {
    place: Place<'a>,
    /// What was asked, if it may be answered from disk.
    asked: Option<(&'a Request, Prefer)>,
}

/// A call on its way.
pub(super) struct Call {
    /// Where it starts.
    pub(super) code: Code,
    pub(super) begun: Instant,
    /// The deadline counts from here.
    pub(super) admitted: Instant,
    /// It is past shedding, and past the fast lane.
    pub(super) started: bool,
    /// On the compute lane, where it has one.
    pub(super) place: Option<lane::Place>,
    /// The caller's.
    pub(super) directives: CacheDirectives,
    /// Of a chain that is to run as one component, that.
    pub(super) fused: Option<Arc<Loaded>>,
}

impl Call {
    /// Of a chain, how it sets out.
    fn way(&self) -> Way {
        if self.fused.is_some() { Way::Fused } else { Way::Steps }
    }
}

impl Shard {
    /// Answers one call.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the call. What runs on the compute lane is cut off at the next tick, unless
    /// others wait for the same.
    pub async fn call(
        &self,
        met: &Arc<Met>,
        request: Request,
        prefer: Prefer,
        directives: CacheDirectives,
    ) -> Called {
        self.answer(met, request, prefer, directives).await.0
    }

    /// Answers one call. Where the answer was in memory, and doesn't get too old, it can be [given
    /// again](Self::give_again) to one that was sent just as this.
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn answer(
        &self,
        met: &Arc<Met>,
        request: Request,
        prefer: Prefer,
        directives: CacheDirectives,
    ) -> (Called, Option<Given>) {
        self.begin();
        let (runtime, ttl) = (&self.0.runtime, met.record.remember.ttl());
        let spelling = if met.remembers() { Spelling::of(met.key(), prefer, &request) } else { None };
        if let Some(spelling) = &spelling
            && !directives.no_cache
            && let Some((key, remembered)) = runtime.results().cache().get_spelled(spelling, ttl)
        {
            let called = self.recalled(met, &remembered, (&request, prefer), false);
            self.account(met, &called);
            let given = Given::of(met, key, &remembered, &called, directives.no_store);
            return (called, given);
        }
        let mut given = None;
        // Apart, as it is large: what is known already needs none of it.
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

    /// Writes down what came of a call.
    fn account(&self, met: &Met, called: &Called) {
        let fault = called.result.as_ref().err().map(|error| error.fault());
        let ran = matches!(called.source, Source::Ran { .. })
            && !matches!(fault, Some(Fault::Caller | Fault::Load));
        if met.remembers() && ran {
            met.tally.miss();
        }
        self.0.runtime.results().record_log(met, called);
    }

    /// What isn't known by its `spelling`, if it has one that is looked for. Where it is in memory all the same, and may be given
    /// again, by that in `again`.
    async fn recall_or_run(
        &self,
        met: &Arc<Met>,
        request: &Request,
        prefer: Prefer,
        directives: CacheDirectives,
        spelling: Option<Spelling<'_>>,
        again: &mut Option<Given>,
    ) -> Called {
        let form = met.record.description.form;
        let remembers = met.remembers();
        let begun = Instant::now();
        let code = match self.loaded(met).await {
            Ok(code) => code,
            Err(error) => return Called::failed(CallError::Load(error), CallCost::default()),
        };
        // Loading is not the call's doing.
        let fused = match &code {
            Code::Component(_) => None,
            Code::Pipeline(staged) => self.fused(met, staged),
        };
        let call =
            Call { fused, code, begun, admitted: Instant::now(), started: false, place: None, directives };
        // What a function of the http form sees of `no-cache` makes its call another one, which is never looked for.
        let no_store = directives.no_store || (directives.no_cache && form == Form::Http);
        let spelling = spelling.filter(|_| !no_store);
        if !request.is_light(form, remembers) {
            let spelling = spelling.map(Spelling::into_owned);
            let place = |key| Place { key, spelling, no_store };
            return Box::pin(self.run_heavy(met, request, prefer, directives, call, place)).await;
        }
        let decoded = match invoke::decode(call.code.interface(), request, prefer) {
            Ok(decoded) => decoded,
            Err(error) => return Called::failed(error, CallCost::default()),
        };
        if !remembers {
            return self.run(met, decoded, call).await;
        }
        let key = met.key().of(&decoded.input, decoded.raw);
        let mut place = Place { key, spelling, no_store };
        if directives.no_cache {
            return self.lead(met, decoded, call, Sought { place, asked: None }, None).await;
        }
        let asked = (request, prefer);
        let found = self.0.runtime.results().look_up(met, &mut place);
        let sought = Sought { place, asked: Some(asked) };
        match found {
            Lookup::Hit(remembered) => {
                let called = self.recalled(met, &remembered, asked, false);
                *again = Given::of(met, key, &remembered, &called, no_store);
                called
            }
            Lookup::Lead(lead) => self.lead(met, decoded, call, sought, Some(lead)).await,
            Lookup::Wait(interest) => match collapse(met, &interest, &call).await {
                Some(called) => called,
                // Alone, this time: nobody's deadline but its own is to decide what comes of it.
                None => self.lead(met, decoded, call, sought, None).await,
            },
        }
    }

    /// For what takes long to decode or to hash: all of it on the compute lane.
    async fn run_heavy(
        &self,
        met: &Arc<Met>,
        request: &Request,
        prefer: Prefer,
        directives: CacheDirectives,
        mut call: Call,
        place: impl FnOnce(Key) -> Place<'static>,
    ) -> Called {
        let (decoded, key) = match self.decode_on_compute_lane(met, request, prefer, &mut call).await {
            Ok(decoded) => decoded,
            Err(called) => return *called,
        };
        if !met.remembers() {
            return self.run(met, decoded, call).await;
        }
        let mut place: Place<'_> = place(key);
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
        // Neither the place nor what was decoded in it is held while somebody else works.
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

    /// What is remembered, as an answer. Some are computed again later.
    fn recalled(
        &self,
        met: &Met,
        remembered: &Arc<Remembered>,
        asked: (&Request, Prefer),
        on_disk: bool,
    ) -> Called {
        let hits = met.tally.hit(remembered.cost);
        let runtime = &self.0.runtime;
        if runtime.verification().samples(met.sampled_from.wrapping_add(hits)) {
            runtime.verify(&met.function, asked, remembered);
        }
        let age_s = remembered.age_s();
        let ttl_s = met.record.remember.ttl_s.map(|ttl| ttl.get().saturating_sub(age_s));
        answered(remembered, Source::Remembered { age_s, ttl_s, on_disk }, CallCost::default())
    }

    /// What is on disk, if it is of use.
    async fn read(&self, met: &Met, sought: &mut Sought<'_>) -> Option<(Called, Arc<Remembered>)> {
        let runtime = &self.0.runtime;
        let asked = sought.asked.filter(|_| runtime.results().may_be_on_disk(met))?;
        let (key, ttl, reading) = (sought.place.key, met.record.remember.ttl(), runtime.clone());
        let read = move || reading.results().find_on_disk(&key, ttl);
        let found = tokio::task::spawn_blocking(read).await.ok()??;
        runtime.results().promote(&mut sought.place, &found);
        Some((self.recalled(met, &found, asked, true), found))
    }

    /// Runs a call, keeps what comes of it and tells who waits for the same.
    async fn lead(
        &self,
        met: &Arc<Met>,
        decoded: Decoded,
        mut call: Call,
        sought: Sought<'_>,
        lead: Option<Lead>,
    ) -> Called {
        if met.composed().is_some() {
            return Box::pin(self.lead_pipeline(met, decoded, call, sought, lead)).await;
        }
        match self.try_here(met, &decoded, &mut call) {
            Some(called) => self.0.runtime.results().keep(met, called, sought.place, lead),
            // Rare and large: apart, it isn't moved about with every request.
            None => Box::pin(self.lead_on_compute_lane(met, decoded, call, sought, lead)).await,
        }
    }

    /// A pipeline: as one component, if it is a chain that is linked to one and that is faster, or step by step.
    async fn lead_pipeline(
        &self,
        met: &Arc<Met>,
        decoded: Decoded,
        mut call: Call,
        sought: Sought<'_>,
        lead: Option<Lead>,
    ) -> Called {
        let (way, begun) = (call.way(), Instant::now());
        let called = self.try_here(met, &decoded, &mut call);
        let lost = if called.is_none() { begun.elapsed() } else { Duration::ZERO };
        let called = match called {
            Some(called) => self.0.runtime.results().keep(met, called, sought.place, lead),
            None => self.lead_on_compute_lane(met, decoded, call, sought, lead).await,
        };
        learn(met, way, lost, &called);
        called
    }

    /// Runs a call of which nothing is kept.
    async fn run(&self, met: &Arc<Met>, decoded: Decoded, mut call: Call) -> Called {
        let (way, begun) = (call.way(), Instant::now());
        if let Some(called) = self.try_here(met, &decoded, &mut call) {
            learn(met, way, Duration::ZERO, &called);
            return called;
        }
        let lost = begun.elapsed();
        let called = Box::pin(self.call_on_compute_lane(met, decoded, call)).await;
        learn(met, way, lost, &called);
        called
    }

    /// The fast lane, for a function that has a place on it. `None` if the call has to go to the other.
    fn try_here(&self, met: &Arc<Met>, decoded: &Decoded, call: &mut Call) -> Option<Called> {
        if call.started || met.history().is_long() {
            return None;
        }
        let (loaded, is_fused) = match &call.code {
            Code::Component(loaded) => (Arc::clone(loaded), false),
            // What its steps take adds up: they have a thread to themselves.
            Code::Pipeline(_) => (call.fused.clone()?, true),
        };
        match self.call_here(met, &loaded, decoded, call) {
            // An answer is what the steps would give. What else it came to is for them to say.
            Outcome::Called(called) if is_fused && !called.is_whole() => {
                (call.started, call.fused) = (true, None);
                None
            }
            Outcome::Called(called) => Some(called),
            Outcome::Undecided(called) if met.limits().deadline() <= call.admitted.elapsed() => Some(called),
            Outcome::Undecided(_) => {
                call.started = true;
                None
            }
        }
    }

    /// What is on disk is looked for first. With a lead the call doesn't end with this caller while others wait.
    async fn lead_on_compute_lane(
        &self,
        met: &Arc<Met>,
        decoded: Decoded,
        call: Call,
        mut sought: Sought<'_>,
        lead: Option<Lead>,
    ) -> Called {
        let Some(lead) = lead else {
            if let Some((called, _)) = self.read(met, &mut sought).await {
                return called;
            }
            let called = self.call_on_compute_lane(met, decoded, call).await;
            return self.0.runtime.results().keep(met, called, sought.place, None);
        };
        // This caller's, until it leaves.
        let _interest = lead.interest();
        let (answers, answered) = oneshot::channel();
        let (shard, met) = (self.clone(), Arc::clone(met));
        let Sought { place: Place { key, spelling, no_store }, asked } = sought;
        let spelling = spelling.map(Spelling::into_owned);
        let asked = asked.map(|(request, prefer)| (request.clone(), prefer));
        tokio::spawn(async move {
            let asked = asked.as_ref().map(|(request, prefer)| (request, *prefer));
            let mut sought = Sought { place: Place { key, spelling, no_store }, asked };
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
            // Its own caller may have left; others have their answer.
            if let Err(called) = answers.send(called) {
                shard.account(&met, &called);
            }
        });
        answered.await.unwrap_or_else(|_| {
            let error = CallError::Internal("the thread that ran the call has ended".to_owned());
            Called::failed(error, CallCost::default())
        })
    }

    /// A decoded call and its key. It has its place from then on.
    async fn decode_on_compute_lane(
        &self,
        met: &Arc<Met>,
        request: &Request,
        prefer: Prefer,
        call: &mut Call,
    ) -> Result<(Decoded, Key), Box<Called>> {
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
            decoded.map_err(|error| Box::new(Called::failed(error, CallCost::default())))?;
        call.place = Some(place);
        Ok((decoded, key))
    }
}

/// Remembers what a pipeline that ran has taken this way, with what was `lost` on a try that came to nothing. How
/// long it waited for its place is none of it, nor what was turned away.
fn learn(met: &Met, way: Way, lost: Duration, called: &Called) {
    let is_its_own = called.result.as_ref().err().is_none_or(|error| error.fault() == Fault::Guest);
    let has_run = is_its_own && matches!(called.source, Source::Ran { .. });
    if let Some(composed) = met.composed().filter(|_| has_run) {
        composed.arms().took(way, lost + called.cost.start + called.cost.run);
    }
}

/// Waits for another's execution; `None` if nothing comes of it for this call.
async fn collapse(met: &Met, interest: &Interest, call: &Call) -> Option<Called> {
    let deadline = tokio::time::Instant::from_std(call.admitted + met.limits().deadline());
    let landed = tokio::time::timeout_at(deadline, interest.landed()).await;
    // All of the time was spent waiting for somebody else's to end.
    let cost = CallCost { queue: call.begun.elapsed(), ..CallCost::default() };
    match landed {
        Ok(Some(Landed::Answer(remembered))) => {
            met.tally.collapsed(remembered.cost);
            Some(answered(&remembered, Source::Collapsed, cost))
        }
        Ok(Some(Landed::Failed(error))) => {
            met.tally.collapsed(Duration::ZERO);
            Some(Called { source: Source::Collapsed, ..Called::failed(error, cost) })
        }
        Ok(None) => None,
        Err(_) => {
            let deadline_ms = met.limits().deadline_ms.get();
            let error = CallError::DeadlineExceeded { deadline_ms, log_tail: String::new() };
            Some(Called { source: Source::Collapsed, ..Called::failed(error, cost) })
        }
    }
}

fn answered(remembered: &Remembered, source: Source, cost: CallCost) -> Called {
    Called {
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
