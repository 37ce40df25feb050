//! Verification: cached results are recomputed while the machine is idle, and compared.
//!
//! ```text
//! hit --(sampled)--> queue --> a thread of idle priority --> agreed | undecided | disagreed
//! ```
//!
//! The sandbox enforces purity. This module checks the sandbox and the machine's memory by
//! recomputing a sample of hits. For results on disk it also checks the compiler that was in use
//! then. If two computations disagree, none of the component's results is reliable: the host raises
//! an alarm, drops these results, and caches nothing of the component until an operator clears its
//! cache. The input is stored (see [`Results`](crate::results::Results)), so that the call can be
//! repeated by hand.
//!
//! Invariants:
//! * No call waits for a check. If the queue is full, the check is dropped.
//! * Checks use at most one part in [`CORE_PART`] of one core, however many are sampled.
//! * An inconclusive recomputation, such as one past its deadline, is not a disagreement.
//! * A hit is checked soon or not at all. The thread ends some time after the last check.

mod queue;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nebula_engine::priority;
use nebula_engine::{Allowance, CancelFlag, thread_time};
use nebula_model::answer::Answer;
use nebula_model::disagreement::Disagreement;
use nebula_model::id::Digest;
use nebula_store::{LogEntry, now_unix_us};

pub(crate) use self::queue::Verification;
use self::queue::{Check, request_bytes};
use super::code::{Code, components};
use crate::cache::CachedResult;
use crate::call::function::Function;
use crate::call::invoke;
use crate::call::invoke::{CallOutcome, CallRequest, CallTimes, Run, RunEnd};
use crate::call::tally::{CallCounts, Count};
use crate::pool::Pool;
use crate::receipt::document;
use crate::runtime::{Runtime, WeakRuntime};

/// Checks use at most one part in this many of one core's time.
const CORE_PART: u32 = 200;

/// Most checks in the queue.
const QUEUE_MAX: usize = 64;

/// Most memory that queued checks hold together, bytes. Further checks are dropped.
const QUEUED_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Idle time after which the thread ends and unloads its components.
const IDLE: Duration = Duration::from_secs(5);

/// Longest pause between two checks. After a call of many seconds the next check may come before
/// its share of time.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// Compiled code kept loaded for checks, bytes.
const LOADED_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Longest time in the queue. Older checks are dropped, so that an idle machine can sleep.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Stack of the thread, bytes: guests run on it.
const STACK_BYTES: usize = 4 * 1024 * 1024;

/// The result of a check.
enum Verdict {
    Agreed,
    /// It couldn't be recomputed now, or not in time.
    Undecided,
    Disagreed(Box<Disagreement>),
}

impl Runtime {
    /// Queues a check of a hit: of the result that answered this request to `function`.
    pub(crate) fn verify(
        &self,
        function: &Arc<Function>,
        CallRequest { request, prefer }: CallRequest<'_>,
        cached: &Arc<CachedResult>,
    ) {
        let verification = self.verification();
        let bytes = request_bytes(request) + cached.bytes();
        let queued = &verification.queued_bytes;
        let fits = queued.fetch_add(bytes, Ordering::Relaxed) + bytes <= QUEUED_BYTES_MAX;
        let check = || Check {
            function: Arc::clone(function),
            request: request.compact(),
            prefer,
            cached: Arc::clone(cached),
            trusted: verification.trusted(),
            queued_at: Instant::now(),
        };
        if !fits || !self.enqueue(check()) {
            queued.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Queues a check and returns whether it was accepted. The first check starts the thread.
    fn enqueue(&self, check: Check) -> bool {
        // The verifying thread may hold the lock while it waits for a core.
        let Ok(mut queue) = self.verification().queue.try_lock() else { return false };
        if queue.is_none() {
            let (sender, checks) = sync_channel(QUEUE_MAX);
            let runtime = self.downgrade();
            let thread = thread::Builder::new().name("nebula-verify".to_owned()).stack_size(STACK_BYTES);
            if thread.spawn(move || work(&runtime, &checks)).is_ok() {
                *queue = Some(sender);
            }
        }
        match queue.as_ref().map(|queue| queue.try_send(check)) {
            Some(Ok(())) => true,
            // The thread has panicked: the next check starts another.
            Some(Err(TrySendError::Disconnected(_))) => {
                *queue = None;
                false
            }
            Some(Err(TrySendError::Full(_))) | None => false,
        }
    }

    /// Drops the results of a function's component and stops caching them.
    fn distrust(&self, function: &Function, disagreement: &Disagreement) {
        // If it can't be stored, the distrust lasts until the next start.
        let written = self.results().distrust(disagreement);
        self.functions().uncache_all();
        let mut components = HashSet::from([disagreement.component]);
        // A pipeline that can't be read can't be called either.
        components.extend(self.deployer().pipelines_of(&disagreement.component).unwrap_or_default());
        let removed = self.results().remove(components);
        let mut outcome =
            format!("computed again, it answered {}, and not {}", disagreement.computed, disagreement.cached);
        if let Err(error) = written {
            outcome.push_str(&format!("; that couldn't be written down: {error}"));
        }
        if let Err(error) = removed {
            outcome.push_str(&format!("; its stored results couldn't be removed: {error}"));
        }
        let entry = LogEntry {
            function: function.record.name.clone(),
            at_unix_us: now_unix_us(),
            version: function.record.version,
            outcome,
            duration_us: 0,
            output: String::new(),
            request_id: None,
            backtrace: Vec::new(),
        };
        self.results().logs().push(entry);
        self.alarm(disagreement);
    }
}

/// Runs checks until the runtime is dropped or the queue is idle.
fn work(runtime: &WeakRuntime, checks: &Receiver<Check>) {
    priority::idle();
    let mut pool = None;
    loop {
        let next = checks.recv_timeout(IDLE);
        let Some(runtime) = runtime.upgrade() else { return };
        let check = match next {
            Ok(check) => check,
            Err(_) => {
                let mut queue = runtime.verification().lock();
                // A check may have arrived in between.
                let Ok(check) = checks.try_recv() else {
                    *queue = None;
                    return;
                };
                check
            }
        };
        runtime.verification().queued_bytes.fetch_sub(check.bytes(), Ordering::Relaxed);
        if check.queued_at.elapsed() > WAIT_MAX {
            continue;
        }
        // A separate pool: a thread that waits for its core doesn't block the others' pools.
        let pool = match &mut pool {
            Some(pool) => pool,
            none => match runtime.executor().new_pool_apart(LOADED_BYTES_MAX) {
                Ok(pool) => none.insert(pool),
                // No address space for another instance: skip the check.
                Err(_) => continue,
            },
        };
        let before = thread_time();
        run(&runtime, pool, &check);
        // Don't keep the runtime alive during the pause.
        drop((runtime, check));
        // Processor time: the wait for the core doesn't count.
        let spent = thread_time().saturating_sub(before);
        thread::sleep((spent * (CORE_PART - 1)).min(PAUSE_MAX));
    }
}

fn run(runtime: &Runtime, pool: &Pool, check: &Check) {
    let function = &check.function;
    // One alarm is enough, and a result from before an operator's reset is moot.
    let is_over = || {
        // Includes a pipeline's functions: a fault in one shows in the whole.
        let components = components(function).into_iter().chain([&function.record.digest]);
        let mut found = components.map(|digest| runtime.disagreement(digest));
        let is_distrusted = found.any(|found| found.is_ok_and(|found| found.is_some()));
        is_distrusted || runtime.verification().trusted() != check.trusted
    };
    if is_over() {
        return;
    }
    let counts = match compute(runtime, pool, check) {
        Verdict::Undecided => return,
        // An alarm or a reset may have come during the computation, too.
        Verdict::Disagreed(_) if is_over() => return,
        Verdict::Agreed => CallCounts::of(&[(Count::Verified, 1)]),
        Verdict::Disagreed(disagreement) => {
            runtime.distrust(function, &disagreement);
            CallCounts::of(&[(Count::Verified, 1), (Count::Disagreed, 1)])
        }
    };
    runtime.results().tallies().add(&function.record.name, &counts);
}

fn compute(runtime: &Runtime, pool: &Pool, check: &Check) -> Verdict {
    let Check { function, request, prefer, cached, .. } = check;
    // A check compiles nothing.
    let Ok(Some(code)) = runtime.code_in(pool, function) else { return Verdict::Undecided };
    let Ok(decoded) = invoke::decode(code.interface(), CallRequest { request, prefer: *prefer }) else {
        return Verdict::Undecided;
    };
    let called = match &code {
        Code::Component(loaded) => {
            let now = Instant::now();
            let allowance = Allowance::long(now + function.limits().deadline(), CancelFlag::default());
            let times = CallTimes { admitted: now, begun: now };
            let Run { end: outcome, .. } = invoke::run(function, loaded, &decoded, times, allowance, None);
            let RunEnd::Over(called) = outcome else { return Verdict::Undecided };
            called
        }
        // Stepwise, even if the result came from a fused chain.
        Code::Pipeline(staged) => runtime.run_again(function, staged, &decoded),
    };
    let agreed = match (&cached.result, &called.result) {
        (Ok(cached), Ok(computed)) => cached.same(computed),
        (Err(cached), Err(computed)) if computed.is_the_functions() => {
            cached.to_string() == computed.to_string()
        }
        (_, Err(computed)) if !computed.is_the_functions() => return Verdict::Undecided,
        (Ok(_), Err(_)) | (Err(_), Ok(_) | Err(_)) => false,
    };
    if agreed { Verdict::Agreed } else { Verdict::Disagreed(Box::new(disagreement(runtime, check, &called))) }
}

fn disagreement(runtime: &Runtime, check: &Check, called: &CallOutcome) -> Disagreement {
    let Check { function, request, cached, .. } = check;
    let document = document(request);
    let input = Digest::of(&document);
    runtime.results().inputs().keep(&input, &document);
    let shown = |result: &Result<Answer, Arc<_>>| match result {
        Ok(answer) => answer.summary(),
        Err(error) => format!("`{error}`"),
    };
    Disagreement {
        component: function.record.digest,
        function: format!("{}@{}", function.record.name, function.record.version),
        input,
        cached: shown(&cached.result),
        computed: shown(&called.result),
        engines: [cached.engine.as_ref().to_owned(), nebula_engine::identity().to_owned()],
        at_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
    }
}
