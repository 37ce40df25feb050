//! What one serving thread keeps to itself: its engine and instances, and the functions it has met.
//!
//! ```text
//! call -> fast lane, here --(done)-------------------------------> answer
//!           |                                                        ^
//!           +--(overran: cut off)--> compute lane, begun again ------+
//! tidy      (the thread is about to sleep) resets used slots, makes instances ahead
//! rest      (no call of a function for a while) gives up what was made ahead; (of any) later, everything
//! ```
//!
//! The fast lane runs a call where its connection lives, for about a millisecond. A call that overruns is
//! cut off, which for a pure call changes nothing, and begun again on the compute lane, so that no
//! request waits behind somebody else's long call. Where a function's next call starts is decided by
//! how its last ones went.
//!
//! Invariants:
//! * Between shards nothing is shared that a short call writes when it runs; what is remembered (`recall`) is
//!   everybody's.
//! * A deadline counts from admission, over queue and both lanes.
//! * While no call comes there is no timer, once everything has been given up.

mod again;
mod recall;
mod receipt;

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use nebula_cache::{Counts, Tally};
use nebula_engine::priority;
use nebula_engine::{Allowance, Wanted};
use nebula_engine::{Loaded, Ready, Spent};
use nebula_model::cost::CallCost;
use nebula_model::id::{FunctionName, FunctionRef, Selector};
use nebula_pipeline::Way;
use nebula_store::ResolveError;

pub use self::again::Given;
use self::recall::Call;
pub use self::receipt::{Answered, Issued};
use crate::call::function::Function;
use crate::call::invoke;
use crate::call::invoke::{Called, Decoded, Outcome};
use crate::call::lane;
use crate::call::lane::NoPlace;
use crate::error::{CallError, LoadError};
use crate::pool::Pool;
use crate::results::Counting;
use crate::run::code::{Code, Staged};
use crate::runtime::{Runtime, RuntimeError};

/// Instances made ahead, at most, for one function.
const READY_PER_FUNCTION_MAX: usize = 1;

/// Functions that are remembered by how they were asked for.
const ROUTES_MAX: usize = 16 * 1024;

/// The longest spelling of a function that is remembered, bytes. A name with a digest takes half of it.
const SPELLED_BYTES_MAX: usize = 256;

/// Calls that follow one another so closely leave nothing to be gained by making instances ahead.
const BUSY_GAP: Duration = Duration::from_micros(500);

/// Making an instance ahead must not hold up the next request for longer.
const PREPARE_MAX: Duration = Duration::from_micros(200);

/// A call of this length does not belong here, even if no tick cut it off: one instruction can fill a whole
/// memory. Longer than a thread is usually kept from its core.
const FAST_MAX: Duration = Duration::from_millis(20);

/// So long after its deadline a call is answered without what it has printed.
const LATE_MAX: Duration = Duration::from_millis(250);

/// After so long it is looked again whether a chain was linked.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Without a call for so long, what was made ahead is given up.
const REST: Duration = Duration::from_secs(2);

/// Without a call for so much longer, everything is.
const FORGET: Duration = Duration::from_secs(20);

/// A serving thread's own part of the runtime. Cheap to clone.
#[derive(Clone)]
pub struct Shard(Arc<Inner>);

struct Inner {
    runtime: Runtime,
    pool: Pool,
    /// Of chains that are linked to one component; made with the first of them, if there is room for it.
    fused_pool: OnceLock<Option<Pool>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Of the runtime, when the routes were filled.
    generation: u64,
    routes: HashMap<FunctionRef, Arc<Met>>,
    /// The same, as callers have written them.
    spelled: HashMap<Box<str>, (Arc<Met>, Selector)>,
    /// Called since the thread last slept.
    touched: Vec<Arc<Met>>,
    /// The last instance used, not yet reset.
    spent: Option<Spent>,
    ready: usize,
    /// Whether some function holds what it calls.
    some_staged: bool,
    /// How often the routes were.
    forgotten: u64,
    calls: u64,
    last_call: Option<Instant>,
    /// The last two came within [`BUSY_GAP`].
    is_busy: bool,
    /// Whether somebody waits for calls to cease.
    resting: bool,
}

/// A function as one shard has met it.
pub struct Met {
    /// Has what it counted in the end.
    runtime: Runtime,
    function: Arc<Function>,
    /// What names stood for when it was found.
    generation: u64,
    tally: Tally,
    /// What its hits are numbered from, for [`Verification`](crate::run::verify::Verification).
    sampled_from: u64,
    state: Mutex<MetState>,
}

#[derive(Default)]
struct MetState {
    /// Of a chain, the component that it is linked to.
    loaded: Weak<Loaded>,
    /// When that was looked for last and wasn't there.
    unfused_at: Option<Instant>,
    /// A pipeline with all that it calls.
    staged: Option<Arc<Staged>>,
    ready: Vec<Ready>,
    touched: bool,
    /// Since what nobody calls was last given up.
    called: bool,
    /// No route leads here any more: nothing is made ahead for it, as nobody would give that up.
    retired: bool,
    /// Making an instance takes so long that it isn't done ahead.
    slow_to_start: bool,
}

impl Deref for Met {
    type Target = Function;

    fn deref(&self) -> &Function {
        &self.function
    }
}

impl Drop for Met {
    /// Also where a call outlives the routes.
    fn drop(&mut self) {
        self.runtime.results().count(&self.function.record.name, self.tally.counts());
    }
}

impl Met {
    /// Its component, if this shard has it loaded.
    fn loaded(&self) -> Option<Arc<Loaded>> {
        self.lock().loaded.upgrade()
    }

    fn lock(&self) -> MutexGuard<'_, MetState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    /// For the calling thread, which serves from now on.
    ///
    /// # Errors
    /// When the address space for its instances can't be reserved.
    pub fn new(runtime: Runtime) -> Result<Self, RuntimeError> {
        priority::serve();
        let pool = runtime.executor().new_pool().map_err(RuntimeError::Engine)?;
        let inner = Arc::new(Inner { runtime, pool, fused_pool: OnceLock::new(), state: Mutex::default() });
        let counting: Weak<Inner> = Arc::downgrade(&inner);
        inner.runtime.add_shard(counting);
        Ok(Self(inner))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// What `spelled` leads to, if that was [learnt](Self::learn).
    pub fn find_spelled(&self, spelled: &str) -> Option<(Arc<Met>, Selector)> {
        let mut state = self.lock();
        self.0.renew(&mut state);
        state.spelled.get(spelled).cloned()
    }

    /// Has it that `spelled` leads to what `reference` was found to be.
    pub fn learn(&self, spelled: &str, reference: &FunctionRef, met: &Arc<Met>) {
        let mut state = self.lock();
        // What has changed since isn't looked for here.
        let is_current = state.routes.get(reference).is_some_and(|found| Arc::ptr_eq(found, met));
        if is_current && spelled.len() <= SPELLED_BYTES_MAX && state.spelled.len() < ROUTES_MAX {
            state.spelled.insert(spelled.into(), (Arc::clone(met), reference.selector));
        }
    }

    /// Returns the function that `reference` names. A reference that neither this shard nor the runtime
    /// has cached is looked up on another thread: this one never waits for the disk.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub async fn find(&self, reference: &FunctionRef) -> Result<Arc<Met>, ResolveError> {
        let routed = {
            let mut state = self.lock();
            self.0.renew(&mut state);
            state.routes.get(reference).cloned()
        };
        if let Some(met) = routed {
            return Ok(met);
        }
        // The number comes first: a function found before a change is looked up again after it.
        let generation = self.0.runtime.functions().generation();
        let function = Box::pin(self.0.runtime.find(reference)).await?;
        let mut state = self.lock();
        self.0.renew(&mut state);
        if let Some(met) = state.routes.get(reference) {
            return Ok(Arc::clone(met));
        }
        let met = Arc::new(Met {
            runtime: self.0.runtime.clone(),
            function,
            generation,
            tally: Tally::default(),
            sampled_from: self.0.runtime.verification().begin(),
            state: Mutex::default(),
        });
        if state.generation == generation {
            state.routes.insert(reference.clone(), Arc::clone(&met));
        } else {
            // No route leads here: nothing would give up what is prepared for it.
            met.lock().retired = true;
        }
        Ok(met)
    }

    /// A call comes, to be answered in whatever way.
    fn begin(&self) {
        let mut state = self.lock();
        // Of either lane: what is called isn't forgotten, and what was called is.
        state.calls += 1;
        self.watch_for_rest(&mut state);
    }

    /// The component, where the next call of it would start.
    async fn loaded(&self, met: &Met) -> Result<Code, LoadError> {
        if met.composed().is_some() {
            return Box::pin(self.staged(met)).await.map(Code::Pipeline);
        }
        if met.history().is_long() {
            return self.0.runtime.code(met).await;
        }
        match met.loaded() {
            Some(loaded) => Ok(Code::Component(loaded)),
            None => Box::pin(self.load(met)).await.map(Code::Component),
        }
    }

    /// A pipeline with all that it calls, which is held while calls come.
    async fn staged(&self, met: &Met) -> Result<Arc<Staged>, LoadError> {
        let held = {
            let mut own = met.lock();
            own.called = true;
            own.staged.clone()
        };
        if let Some(staged) = held {
            return Ok(staged);
        }
        let staged = self.0.runtime.stage(met).await?;
        let mut own = met.lock();
        if !own.retired {
            own.staged = Some(Arc::clone(&staged));
            drop(own);
            self.lock().some_staged = true;
        }
        Ok(staged)
    }

    /// The component that a chain is linked to, if its next call is to run there.
    fn fused(&self, met: &Met, staged: &Staged) -> Option<Arc<Loaded>> {
        let (composed, composition) = (met.composed()?, met.record.pipeline.as_ref()?);
        if !staged.is_chain() || composed.arms().choose(composition.description.fuse) == Way::Steps {
            return None;
        }
        let mut own = met.lock();
        if let Some(loaded) = own.loaded.upgrade() {
            return Some(loaded);
        }
        // It is compiled after the deploy, or can't be: a look at the disk for each call would be too many.
        if own.unfused_at.is_some_and(|at| at.elapsed() < LOOK_AGAIN) {
            return None;
        }
        let pool = self.0.fused_pool.get_or_init(|| self.0.runtime.executor().new_fused_pool()).as_ref()?;
        let loaded = self.0.runtime.executor().load_fused(pool, met);
        if loaded.is_none() && own.unfused_at.is_none() {
            // It wasn't compiled with its deploy, or for another release.
            self.0.runtime.deployer().fuse_later([&met.record]);
        }
        own.unfused_at = loaded.is_none().then(Instant::now);
        own.loaded = loaded.as_ref().map(Arc::downgrade).unwrap_or_default();
        loaded
    }

    /// The fast lane.
    fn call_here(&self, met: &Arc<Met>, loaded: &Loaded, decoded: &Decoded, call: &Call) -> Outcome {
        let admitted = call.admitted;
        let (ready, touched) = {
            let mut own = met.lock();
            own.called = true;
            (own.ready.pop(), std::mem::replace(&mut own.touched, true))
        };
        let last = {
            let mut state = self.lock();
            let gap = state.last_call.replace(admitted).map(|last| admitted.saturating_duration_since(last));
            state.is_busy = gap.is_some_and(|gap| gap < BUSY_GAP);
            if ready.is_some() {
                state.ready -= 1;
            }
            if !touched {
                state.touched.push(Arc::clone(met));
            }
            state.spent.take()
        };
        // Reset now if the thread hasn't slept since: the next instance takes its slot, still in cache.
        drop(last);
        let allowance = Allowance::fast(admitted + met.limits().deadline());
        let (mut outcome, spent) = invoke::run(met, loaded, decoded, (admitted, admitted), allowance, ready);
        let (Outcome::Called(called) | Outcome::Undecided(called)) = &mut outcome;
        called.cost.load = admitted - call.begun;
        if spent.is_some() {
            self.lock().spent = spent;
        }
        let long = match &outcome {
            // Where there was no slot the call hasn't shown how long it is.
            Outcome::Undecided(called) => {
                !matches!(&called.result, Err(error) if matches!(**error, CallError::NoSlot))
            }
            Outcome::Called(called) => called.cost.run > FAST_MAX,
        };
        if long {
            met.history().was_long();
        }
        outcome
    }

    /// A place on the compute lane, or why there is none for this call. One that has `started` isn't shed.
    async fn place_on_compute_lane(
        &self,
        met: &Met,
        admitted: Instant,
        started: bool,
    ) -> Result<lane::Place, Box<Called>> {
        let (lane, function) = (self.0.runtime.executor().lane(), &met.function);
        let remaining = function.limits().deadline().saturating_sub(admitted.elapsed());
        let error = match lane.enter(function.share(), remaining, !started).await {
            Ok(place) => return Ok(place),
            Err(NoPlace::TooLate) if started => {
                let deadline_ms = function.limits().deadline_ms.get();
                CallError::DeadlineExceeded { deadline_ms, log_tail: String::new() }
            }
            Err(NoPlace::Full | NoPlace::TooLate) => CallError::Overloaded { queue_max: lane.waiting_max() },
        };
        let cost = CallCost { queue: admitted.elapsed(), ..CallCost::default() };
        Err(Box::new(Called::failed(error, cost)))
    }

    async fn call_on_compute_lane(&self, met: &Arc<Met>, decoded: Decoded, mut call: Call) -> Called {
        let (runtime, function) = (&self.0.runtime, &met.function);
        let deadline = function.limits().deadline();
        let place = match call.place.take() {
            Some(place) => place,
            None => match self.place_on_compute_lane(met, call.admitted, call.started).await {
                Ok(place) => place,
                Err(called) => return *called,
            },
        };
        let loading = Instant::now();
        let code = match &call.code {
            // Whatever it calls is the compute lane's already.
            code @ Code::Pipeline(_) => code.clone(),
            Code::Component(_) => match runtime.code(met).await {
                Ok(code) => code,
                Err(error) => return Called::failed(CallError::Load(error), CallCost::default()),
            },
        };
        let (loading, admitted) = (loading.elapsed(), call.admitted + loading.elapsed());
        let wanted = Wanted::default();
        // Also when the caller leaves.
        let _abandon = Abandon(wanted.clone());
        let run = {
            let (runtime, function, directives) = (runtime.clone(), Arc::clone(function), call.directives);
            let is_fused = call.fused.is_some();
            move || {
                let _place = place;
                let begun = Instant::now();
                let fused =
                    if is_fused { runtime.run_fused(&function, &decoded, admitted, &wanted) } else { None };
                let lost = begun.elapsed();
                fused.unwrap_or_else(|| {
                    let ran = runtime.run_long(&function, &code, &decoded, admitted, (wanted, directives));
                    // It ran in vain: it didn't wait.
                    let (queue, run) = (ran.cost.queue.saturating_sub(lost), ran.cost.run + lost);
                    Called { cost: CallCost { queue, run, ..ran.cost }, ..ran }
                })
            }
        };
        // The thread itself sees to the deadline, if the machine lets it run at all.
        let late = tokio::time::Instant::from_std(admitted + deadline + LATE_MAX);
        let called = match tokio::time::timeout_at(late, runtime.executor().lane().run(run)).await {
            Ok(Ok(called)) => called,
            Ok(Err(error)) => Called::failed(CallError::Internal(error), CallCost::default()),
            Err(_) => {
                let deadline_ms = function.limits().deadline_ms.get();
                let error = CallError::DeadlineExceeded { deadline_ms, log_tail: String::new() };
                Called::failed(error, CallCost { run: admitted.elapsed(), ..CallCost::default() })
            }
        };
        let load = (call.admitted - call.begun) + loading;
        Called { cost: CallCost { load, ..called.cost }, ..called }
    }

    async fn load(&self, met: &Met) -> Result<Arc<Loaded>, LoadError> {
        let digest = &met.record.digest;
        let loaded = match self.0.pool.get(digest) {
            Some(loaded) => loaded,
            None => self.0.runtime.executor().load(&self.0.pool, digest).await?,
        };
        met.lock().loaded = Arc::downgrade(&loaded);
        Ok(loaded)
    }

    /// For the moment before the thread sleeps: resets the slot used last, and makes an instance ahead for
    /// each function called since. The answers are on the wire by then.
    ///
    /// Where one call follows another, none is made ahead: an instance that is used as soon as it is made is
    /// still in the cache, one that has waited while a request was received isn't. (Echo over 32
    /// connections: 13 us of processor time a request with this rule, 15 us without.)
    pub fn tidy(&self) {
        let (spent, touched, is_busy) = {
            let mut state = self.lock();
            (state.spent.take(), std::mem::take(&mut state.touched), state.is_busy)
        };
        drop(spent);
        for met in touched {
            if is_busy {
                met.lock().touched = false;
            } else {
                self.make_ready(&met);
            }
        }
    }

    fn make_ready(&self, met: &Met) {
        // One place is the running call's: what it leaves is reset before the next begins.
        let is_full = self.lock().ready + 1 >= self.0.runtime.executor().instances_max();
        let mut own = met.lock();
        own.touched = false;
        if is_full
            || own.ready.len() >= READY_PER_FUNCTION_MAX
            || own.slow_to_start
            || own.retired
            || met.history().is_long()
        {
            return;
        }
        // Unloaded since, or gone for want of calls: the next call begins from the start.
        let Some(loaded) = own.loaded.upgrade() else { return };
        let begun = Instant::now();
        let ticking = loaded.begin();
        let allowance = Allowance::fast(begun + PREPARE_MAX);
        let prepared = loaded.prepare(&ticking, met.record.digest.bytes(), met.limits(), allowance);
        own.slow_to_start = begun.elapsed() > PREPARE_MAX;
        match prepared {
            Ok(ready) => {
                own.ready.push(ready);
                // Never both at once the other way round.
                drop(own);
                self.lock().ready += 1;
            }
            // The call itself will say what is wrong.
            Err(_) => own.slow_to_start = true,
        }
    }

    /// Has somebody wait for calls to cease, if nobody does.
    fn watch_for_rest(&self, state: &mut State) {
        if !std::mem::replace(&mut state.resting, true) {
            self.0.runtime.executor().wake();
            tokio::spawn(rest(Arc::downgrade(&self.0)));
        }
    }
}

/// Waits until no call has come for a while, and gives up more and more.
async fn rest(shard: Weak<Inner>) {
    let mut seen = None;
    loop {
        tokio::time::sleep(REST).await;
        let Some(inner) = shard.upgrade() else { return };
        let calls = {
            let mut state = inner.lock();
            // Others' calls don't keep what was made ahead of one's own.
            state.give_up_uncalled();
            state.calls
        };
        drop(inner);
        if seen.replace(calls) != Some(calls) {
            continue;
        }
        tokio::time::sleep(FORGET).await;
        let Some(inner) = shard.upgrade() else { return };
        let mut state = inner.lock();
        if state.calls == calls {
            inner.forget_routes(&mut state);
            state.resting = false;
            drop(state);
            inner.pool.clear();
            if let Some(Some(pool)) = inner.fused_pool.get() {
                pool.clear();
            }
            // The last one to rest clears up what all share.
            if inner.runtime.executor().rest() {
                inner.runtime.forget_unused();
            }
            return;
        }
    }
}

impl Inner {
    /// Forgets routes that may lead elsewhere now, or are too many.
    fn renew(&self, state: &mut State) {
        let generation = self.runtime.functions().generation();
        if state.generation != generation || state.routes.len() >= ROUTES_MAX {
            self.forget_routes(state);
            state.generation = generation;
        }
    }

    /// Calls in flight keep what they hold.
    fn forget_routes(&self, state: &mut State) {
        state.forgotten += 1;
        state.give_up_ready();
        for met in state.routes.values() {
            let mut own = met.lock();
            own.retired = true;
            own.staged = None;
        }
        state.touched.clear();
        state.routes = HashMap::new();
        state.spelled = HashMap::new();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counting for Inner {
    fn add_counts(&self, counts: &mut BTreeMap<FunctionName, Counts>) {
        for met in self.lock().routes.values() {
            *counts.entry(met.record.name.clone()).or_default() += met.tally.counts();
        }
    }
}

impl State {
    /// Of functions that weren't called since this was done last.
    fn give_up_uncalled(&mut self) {
        self.spent = None;
        if self.ready == 0 && !self.some_staged {
            return;
        }
        self.some_staged = false;
        for met in self.routes.values() {
            let mut own = met.lock();
            if std::mem::take(&mut own.called) {
                self.some_staged |= own.staged.is_some();
            } else {
                self.ready -= std::mem::take(&mut own.ready).len();
                own.staged = None;
            }
        }
    }

    fn give_up_ready(&mut self) {
        self.spent = None;
        for met in self.routes.values() {
            self.ready -= std::mem::take(&mut met.lock().ready).len();
        }
    }
}

/// Tells a call on the compute lane that nobody waits for it.
struct Abandon(Wanted);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

#[cfg(test)]
mod tests;
