//! A shard: the state of one serving thread. It holds the thread's engine, instances and routes.
//!
//! ```text
//! call -> fast lane, this thread --(done)------------------------> answer
//!           |                                                        ^
//!           +--(overran: aborted)--> compute lane, restarted --------+
//! tidy      (before the thread sleeps) resets the last slot, prepares instances
//! rest      (no call of a function for a while) drops its prepared instances;
//!           (no call at all) later drops everything
//! ```
//!
//! The fast lane runs a call on the thread of its connection for about a millisecond. A call that
//! overruns is aborted and restarted on the compute lane, so that no request waits behind another
//! caller's long call. An abort has no effect, because calls are pure. The history of a function
//! decides on which lane its next call starts.
//!
//! Invariants:
//! * A short call that runs writes nothing that shards share. Cached results are shared by all
//!   shards.
//! * A deadline counts from admission, over the queue and both lanes.

mod answer;
mod aside;
mod by_path;
mod call;
mod compute;
mod idle;
mod receipt;
mod repeat;

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use nebula_engine::priority;
use nebula_engine::{Allowance, CancelFlag};
use nebula_engine::{Loaded, Ready, Spent};
use nebula_model::cost::CallCost;
use nebula_model::id::{FunctionRef, Selector};
use nebula_pipeline::ExecutionMode;
use nebula_store::ResolveError;

pub use self::answer::AnsweredCall;
pub use self::by_path::PathRoute;
use self::call::Call;
pub use self::receipt::IssuedReceipt;
pub use self::repeat::RepeatableAnswer;
use crate::call::function::Function;
use crate::call::invoke;
use crate::call::invoke::{CallOutcome, CallTimes, Decoded, Run, RunEnd};
use crate::call::lane;
use crate::call::lane::NoSlot;
use crate::call::routes::RouteTable;
use crate::call::tally::{CallTally, Lane};
use crate::error::{CallError, LoadError};
use crate::peers::Host;
use crate::pool::Pool;
use crate::run::code::{Code, LaneCode, Staged};
use crate::run::steps::LongCall;
use crate::runtime::{HoldsInstances, InstanceUsage, Runtime, RuntimeError};

/// Most routes that are cached.
const ROUTES_MAX: usize = 16 * 1024;

/// Longest path segment whose route is cached, bytes. A name with a digest takes half of it.
const SEGMENT_BYTES_MAX: usize = 256;

/// Calls at shorter intervals than this gain nothing from prepared instances.
const BUSY_GAP: Duration = Duration::from_micros(500);

/// A longer call belongs on the compute lane, even if no tick cut it off: one instruction can fill
/// a whole memory. Longer than the scheduler usually keeps a thread off its core.
const FAST_MAX: Duration = Duration::from_millis(20);

/// A call that is this late after its deadline is answered without its log.
const LATE_MAX: Duration = Duration::from_millis(250);

/// Interval between searches for a linked chain.
const FUSED_LOOKUP_INTERVAL: Duration = Duration::from_secs(1);

/// The state of one serving thread. Cheap to clone.
#[derive(Clone)]
pub struct Shard(Arc<Inner>);

struct Inner {
    runtime: Runtime,
    pool: Arc<Pool>,
    /// Pool for chains linked into one component. Created with the first of them; `None` if it
    /// doesn't fit in the address space.
    fused_pool: OnceLock<Option<Arc<Pool>>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Generation of the runtime's functions when the routes were filled.
    generation: u64,
    routes: HashMap<FunctionRef, Arc<RoutedFunction>>,
    /// The routes, keyed by path segments of requests.
    segments: HashMap<Box<str>, SegmentRoute>,
    /// The routes of other paths. `None` until a request asks for them.
    route_table: Option<Arc<RouteTable>>,
    /// Functions called since the thread last slept.
    touched: Vec<Arc<RoutedFunction>>,
    /// The last instance used, not yet reset.
    spent: Option<Spent>,
    ready: usize,
    /// Some function holds its staged pipeline.
    some_staged: bool,
    /// Number of times the routes were dropped.
    route_drops: u64,
    calls: u64,
    last_call: Option<Instant>,
    /// The last two calls came within [`BUSY_GAP`].
    is_busy: bool,
    /// A task waits for the calls to stop.
    resting: bool,
}

/// The route of a path segment.
#[derive(Clone)]
pub struct SegmentRoute {
    /// The function that the segment names.
    pub function: Arc<RoutedFunction>,
    /// The version that the segment asks for.
    pub selector: Selector,
}

/// A function with the state that one shard keeps for it.
pub struct RoutedFunction {
    /// Receives the counts on drop.
    runtime: Runtime,
    function: Arc<Function>,
    /// Generation of the runtime's functions when this one was found.
    generation: u64,
    tally: Arc<CallTally>,
    /// First number of its hits, for [`Verification`](crate::run::verify::Verification).
    sampled_from: u64,
    state: Mutex<RouteState>,
}

#[derive(Default)]
struct RouteState {
    /// The component. For a chain, the component that it is linked into.
    loaded: Weak<Loaded>,
    /// Time of the last search for a linked chain, unless it was found.
    unfused_at: Option<Instant>,
    /// The chain was to be linked, because it wasn't found.
    fusion_requested: bool,
    /// A pipeline with all the functions it calls.
    staged: Option<Arc<Staged>>,
    ready: Vec<Ready>,
    touched: bool,
    /// Called since prepared instances were last dropped for lack of calls.
    called: bool,
    /// No route leads here any more. Nothing is prepared for it, because nothing would drop it
    /// again.
    retired: bool,
    /// Creating an instance takes too long for it to be prepared.
    slow_to_start: bool,
}

impl Deref for RoutedFunction {
    type Target = Function;

    fn deref(&self) -> &Function {
        &self.function
    }
}

impl Drop for RoutedFunction {
    /// Counts are kept even if a call outlives the routes.
    fn drop(&mut self) {
        self.runtime.results().tallies().close(&self.function.record.name, &self.tally);
    }
}

impl RoutedFunction {
    /// Returns its component if this shard has it loaded.
    fn loaded(&self) -> Option<Arc<Loaded>> {
        self.lock().loaded.upgrade()
    }

    fn lock(&self) -> MutexGuard<'_, RouteState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    /// Creates the shard of the calling thread and gives that thread the serving priority.
    ///
    /// # Errors
    /// [`RuntimeError`] if the address space for its instances can't be reserved.
    pub fn new(runtime: Runtime) -> Result<Self, RuntimeError> {
        priority::serve();
        let pool = Arc::new(runtime.executor().new_pool().map_err(RuntimeError::Engine)?);
        let inner = Arc::new(Inner { runtime, pool, fused_pool: OnceLock::new(), state: Mutex::default() });
        let ready: Weak<Inner> = Arc::downgrade(&inner);
        inner.runtime.add_shard(ready);
        Ok(Self(inner))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    /// Returns the route of a path segment if it was [cached](Self::cache_route).
    pub fn cached_route(&self, segment: &str) -> Option<SegmentRoute> {
        let mut state = self.lock();
        self.0.renew(&mut state);
        state.segments.get(segment).cloned()
    }

    /// Caches the route from a path segment to `function`, which `reference` was resolved to.
    pub fn cache_route(&self, segment: &str, reference: &FunctionRef, function: &Arc<RoutedFunction>) {
        let mut state = self.lock();
        // A change since then isn't looked up here.
        let is_current = state.routes.get(reference).is_some_and(|found| Arc::ptr_eq(found, function));
        if is_current && segment.len() <= SEGMENT_BYTES_MAX && state.segments.len() < ROUTES_MAX {
            let route = SegmentRoute { function: Arc::clone(function), selector: reference.selector };
            state.segments.insert(segment.into(), route);
        }
    }

    /// Returns the function that `reference` names. A reference that neither this shard nor the
    /// runtime has cached is looked up on another thread: this one never waits for the disk.
    ///
    /// # Errors
    /// [`ResolveError`].
    pub async fn find(&self, reference: &FunctionRef) -> Result<Arc<RoutedFunction>, ResolveError> {
        let routed = {
            let mut state = self.lock();
            self.0.renew(&mut state);
            state.routes.get(reference).cloned()
        };
        if let Some(routed) = routed {
            return Ok(routed);
        }
        // The number comes first: a function found before a change is looked up again after it.
        let generation = self.0.runtime.functions().generation();
        let function = Box::pin(self.0.runtime.find(reference)).await?;
        let mut state = self.lock();
        self.0.renew(&mut state);
        if let Some(routed) = state.routes.get(reference) {
            return Ok(Arc::clone(routed));
        }
        let routed = Arc::new(RoutedFunction {
            runtime: self.0.runtime.clone(),
            generation,
            tally: self.0.runtime.results().tallies().open(&function.record.name),
            function,
            sampled_from: self.0.runtime.verification().begin(),
            state: Mutex::default(),
        });
        if state.generation == generation {
            state.routes.insert(reference.clone(), Arc::clone(&routed));
        } else {
            // No route leads here, so nothing would drop its prepared instances.
            routed.lock().retired = true;
        }
        Ok(routed)
    }

    /// Registers an arriving call, however it is answered.
    fn begin(&self) {
        let mut state = self.lock();
        // Calls on both lanes count: a function in use isn't dropped, an unused one is.
        state.calls += 1;
        self.watch_for_rest(&mut state);
    }

    /// Returns the code for the lane on which the next call of the function starts.
    async fn loaded(&self, routed: &RoutedFunction) -> Result<Code, LoadError> {
        if routed.composed().is_some() {
            return Box::pin(self.staged(routed)).await.map(Code::Pipeline);
        }
        if routed.history().is_long() {
            return self.lane_code(routed).await;
        }
        match routed.loaded() {
            Some(loaded) => Ok(Code::Component(loaded)),
            None => Box::pin(self.load(routed)).await.map(Code::Component),
        }
    }

    /// Returns the code for the compute lane.
    async fn lane_code(&self, routed: &RoutedFunction) -> Result<Code, LoadError> {
        let begun = Instant::now();
        let LaneCode { code, is_cold } = self.0.runtime.lane_code(routed).await?;
        if is_cold {
            routed.tally.cold_start(begun.elapsed());
        }
        Ok(code)
    }

    /// Returns a pipeline with all the functions it calls. The shard holds it while calls come.
    async fn staged(&self, routed: &RoutedFunction) -> Result<Arc<Staged>, LoadError> {
        let held = {
            let mut own = routed.lock();
            own.called = true;
            own.staged.clone()
        };
        if let Some(staged) = held {
            return Ok(staged);
        }
        let staged = match self.lane_code(routed).await? {
            Code::Pipeline(staged) => staged,
            Code::Component(_) => return Err(LoadError::Engine("it isn't a pipeline".to_owned())),
        };
        let mut own = routed.lock();
        if !own.retired {
            own.staged = Some(Arc::clone(&staged));
            drop(own);
            self.lock().some_staged = true;
        }
        Ok(staged)
    }

    /// Returns the component that a chain is linked into, if its next call is to run there.
    async fn fused(&self, routed: &RoutedFunction, staged: &Staged) -> Option<Arc<Loaded>> {
        let (composed, composition) = (routed.composed()?, routed.record.pipeline.as_ref()?);
        if !staged.is_chain()
            || composed.fusion_trial().choose(composition.description.fuse) == ExecutionMode::Stepwise
        {
            return None;
        }
        {
            let mut own = routed.lock();
            if let Some(loaded) = own.loaded.upgrade() {
                return Some(loaded);
            }
            // A chain is compiled after its deploy, or can't be. A disk access per call would be
            // too many.
            if own.unfused_at.is_some_and(|at| at.elapsed() < FUSED_LOOKUP_INTERVAL) {
                return None;
            }
            // Other calls run step by step while this one looks.
            own.unfused_at = Some(Instant::now());
        }
        Box::pin(self.load_fused(routed)).await
    }

    /// Loads the component that a chain is linked into. If it isn't there, asks for it to be
    /// linked.
    async fn load_fused(&self, routed: &RoutedFunction) -> Option<Arc<Loaded>> {
        let executor = self.0.runtime.executor();
        let pool = self.0.fused_pool.get_or_init(|| executor.new_fused_pool().map(Arc::new)).as_ref()?;
        let loaded = executor.load_fused_elsewhere(pool, routed).await;
        let mut own = routed.lock();
        match &loaded {
            Some(loaded) => {
                own.loaded = Arc::downgrade(loaded);
                (own.unfused_at, own.fusion_requested) = (None, false);
            }
            // It wasn't compiled at its deploy, or was compiled for another release.
            None if !std::mem::replace(&mut own.fusion_requested, true) => {
                self.0.runtime.deployer().fuse_later([&routed.record]);
            }
            None => {}
        }
        loaded
    }

    /// Runs a call on the fast lane.
    fn call_here(
        &self,
        routed: &Arc<RoutedFunction>,
        loaded: &Loaded,
        decoded: &Decoded,
        call: &Call,
    ) -> RunEnd {
        let admitted = call.admitted;
        let (ready, touched) = {
            let mut own = routed.lock();
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
                state.touched.push(Arc::clone(routed));
            }
            state.spent.take()
        };
        // Reset now if the thread hasn't slept since: the next instance takes this slot, still in
        // cache.
        drop(last);
        let allowance = Allowance::fast(admitted + routed.limits().deadline());
        let times = CallTimes { admitted, begun: admitted };
        let Run { end: mut outcome, spent, value: _ } =
            invoke::run(routed, loaded, decoded, times, allowance, ready);
        let (RunEnd::Over(called) | RunEnd::CutOff(called)) = &mut outcome;
        called.cost.load = admitted - call.begun;
        if spent.is_some() {
            self.lock().spent = spent;
        }
        let long = match &outcome {
            // Without a slot, the call hasn't shown how long it takes.
            RunEnd::CutOff(called) => {
                !matches!(&called.result, Err(error) if matches!(**error, CallError::NoSlot))
            }
            RunEnd::Over(called) => called.cost.run > FAST_MAX,
        };
        if long {
            routed.history().was_long();
        }
        outcome
    }

    /// Waits for a slot on the compute lane. A call that has `started` isn't shed.
    ///
    /// # Errors
    /// The outcome of the call if it gets no slot.
    async fn compute_slot(
        &self,
        routed: &RoutedFunction,
        admitted: Instant,
        started: bool,
    ) -> Result<lane::LaneSlot, Box<CallOutcome>> {
        let (lane, function) = (self.0.runtime.executor().lane(), &routed.function);
        let remaining = function.limits().deadline().saturating_sub(admitted.elapsed());
        let error = match lane.enter(function.share(), remaining, !started).await {
            Ok(slot) => return Ok(slot),
            Err(NoSlot::TooLate) if started => {
                let deadline_ms = function.limits().deadline_ms.get();
                CallError::DeadlineExceeded { deadline_ms, log_tail: String::new() }
            }
            Err(NoSlot::Full | NoSlot::TooLate) => CallError::Overloaded { queue_max: lane.waiting_max() },
        };
        let cost = CallCost { queue: admitted.elapsed(), ..CallCost::default() };
        Err(Box::new(CallOutcome::failed(error, cost)))
    }

    async fn call_on_compute_lane(
        &self,
        routed: &Arc<RoutedFunction>,
        decoded: Decoded,
        mut call: Call,
    ) -> CallOutcome {
        let (runtime, function) = (&self.0.runtime, &routed.function);
        let deadline = function.limits().deadline();
        let slot = match call.slot.take() {
            Some(slot) => slot,
            None => match self.compute_slot(routed, call.admitted, call.started).await {
                Ok(slot) => slot,
                Err(refused) => return self.forward_or(*refused, routed, &mut call).await,
            },
        };
        let loading = Instant::now();
        let code = match &call.code {
            // Its functions are already loaded for the compute lane.
            code @ Code::Pipeline(_) => code.clone(),
            Code::Component(_) => match self.lane_code(routed).await {
                Ok(code) => code,
                Err(error) => return CallOutcome::failed(CallError::Load(error), CallCost::default()),
            },
        };
        let (loading, admitted) = (loading.elapsed(), call.admitted + loading.elapsed());
        let cancel = CancelFlag::default();
        // Cancels the run when the caller disconnects, too.
        let _cancel = CancelOnDrop(cancel.clone());
        let run = {
            let (runtime, function, directives) = (runtime.clone(), Arc::clone(function), call.directives);
            let (is_fused, may_offer) = (call.fused.is_some(), call.origin == Host::This);
            move || {
                let _slot = slot;
                let begun = Instant::now();
                let fused =
                    if is_fused { runtime.run_fused(&function, &decoded, admitted, &cancel) } else { None };
                let lost = begun.elapsed();
                fused.unwrap_or_else(|| {
                    let long = LongCall { admitted, cancel, directives, may_offer };
                    let ran = runtime.run_long(&function, &code, &decoded, long);
                    // The failed run counts as run time, not as queueing.
                    let (queue, run) = (ran.cost.queue.saturating_sub(lost), ran.cost.run + lost);
                    CallOutcome { cost: CallCost { queue, run, ..ran.cost }, ..ran }
                })
            }
        };
        // The thread enforces the deadline itself, if the machine lets it run at all.
        let late = tokio::time::Instant::from_std(admitted + deadline + LATE_MAX);
        let called = match tokio::time::timeout_at(late, runtime.executor().lane().run(run)).await {
            Ok(Ok(called)) => called,
            Ok(Err(error)) => CallOutcome::failed(CallError::Internal(error), CallCost::default()),
            Err(_) => {
                let deadline_ms = function.limits().deadline_ms.get();
                let error = CallError::DeadlineExceeded { deadline_ms, log_tail: String::new() };
                CallOutcome::failed(error, CallCost { run: admitted.elapsed(), ..CallCost::default() })
            }
        };
        routed.tally.ran_on(Lane::Compute);
        let load = (call.admitted - call.begun) + loading;
        CallOutcome { cost: CallCost { load, ..called.cost }, ..called }
    }

    /// Asks another host to answer a call that was `refused` a slot here, unless its deadline has
    /// passed.
    async fn forward_or(
        &self,
        refused: CallOutcome,
        routed: &RoutedFunction,
        call: &mut Call,
    ) -> CallOutcome {
        let deadline = call.admitted + routed.limits().deadline();
        let forwarded = call.forwardable.take().filter(|_| !call.started && Instant::now() < deadline);
        let Some(forwarded) = forwarded else { return refused };
        let answer = self.0.runtime.peers().forward(*forwarded, deadline).await;
        answer.map_or(refused, CallOutcome::from)
    }

    async fn load(&self, routed: &RoutedFunction) -> Result<Arc<Loaded>, LoadError> {
        let digest = &routed.record.digest;
        let loaded = match self.0.pool.get(digest) {
            Some(loaded) => loaded,
            None => {
                let begun = Instant::now();
                let loaded = match self.0.pool.load_shared(digest)? {
                    Some(loaded) => loaded,
                    None => self.0.runtime.executor().load(&self.0.pool, digest).await?,
                };
                routed.tally.cold_start(begun.elapsed());
                loaded
            }
        };
        routed.lock().loaded = Arc::downgrade(&loaded);
        Ok(loaded)
    }
}

impl Inner {
    /// Drops the routes if they may be outdated or are too many.
    fn renew(&self, state: &mut State) {
        let generation = self.runtime.functions().generation();
        if state.generation != generation || state.routes.len() >= ROUTES_MAX {
            self.drop_routes(state);
            state.generation = generation;
        }
    }

    /// Drops all routes. Calls in flight keep what they hold.
    fn drop_routes(&self, state: &mut State) {
        state.route_drops += 1;
        state.drop_ready();
        for routed in state.routes.values() {
            let mut own = routed.lock();
            own.retired = true;
            own.staged = None;
        }
        state.touched.clear();
        state.routes = HashMap::new();
        state.segments = HashMap::new();
        state.route_table = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HoldsInstances for Inner {
    fn instances(&self) -> InstanceUsage {
        let (ready, spent) = {
            let state = self.lock();
            (state.ready as u64, u64::from(state.spent.is_some()))
        };
        let fused = self.fused_pool.get().into_iter().flatten();
        let live: u64 = fused.chain([&self.pool]).map(|pool| pool.engine().instances()).sum();
        // The numbers aren't of one moment.
        InstanceUsage { ready, running: live.saturating_sub(ready + spent) }
    }
}

/// Cancels a call on the compute lane when it is dropped.
struct CancelOnDrop(CancelFlag);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

#[cfg(test)]
mod tests;
