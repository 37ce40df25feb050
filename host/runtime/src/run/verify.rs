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

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nebula_cache::Counts;
use nebula_engine::priority;
use nebula_engine::{Allowance, CancelFlag, thread_time};
use nebula_model::answer::Answer;
use nebula_model::disagreement::Disagreement;
use nebula_model::id::Digest;
use nebula_model::request::{Prefer, Request};
use nebula_store::LogEntry;

use super::code::{Code, components};
use crate::cache::CachedResult;
use crate::call::function::Function;
use crate::call::invoke;
use crate::call::invoke::{CallOutcome, CallRequest, CallTimes, Run, RunEnd};
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

/// The sampling of hits, and the queue of checks.
pub(crate) struct Verification {
    /// Share of hits to sample, out of 2^64.
    part: u64,
    salt: u64,
    queued_bytes: AtomicU64,
    /// Rises whenever an operator trusts results again.
    trusted: AtomicU64,
    begun: AtomicU64,
    queue: Mutex<Option<SyncSender<Check>>>,
}

/// A hit to be verified.
pub(crate) struct Check {
    pub(crate) function: Arc<Function>,
    pub(crate) request: Request,
    pub(crate) prefer: Prefer,
    pub(crate) cached: Arc<CachedResult>,
    trusted: u64,
    queued_at: Instant,
}

/// The result of a check.
enum Verdict {
    Agreed,
    /// It couldn't be recomputed now, or not in time.
    Undecided,
    Disagreed(Box<Disagreement>),
}

impl Verification {
    /// Samples `share` of the hits, from 0 to 1.
    pub(crate) fn new(share: f64) -> Self {
        // Differs between processes, so that they sample different hits. Its quality doesn't
        // matter.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            part: (share.clamp(0.0, 1.0) * u64::MAX as f64) as u64,
            salt: since.as_nanos() as u64,
            queued_bytes: AtomicU64::new(0),
            trusted: AtomicU64::new(0),
            begun: AtomicU64::new(0),
            queue: Mutex::default(),
        }
    }

    /// Returns the first number for a new counter of hits, far from those of other counters.
    pub(crate) fn begin(&self) -> u64 {
        mixed(self.begun.fetch_add(1, Ordering::Relaxed) ^ self.salt)
    }

    /// Returns whether the hit with this number is sampled.
    pub(crate) fn samples(&self, number: u64) -> bool {
        self.part > 0 && mixed(number) <= self.part
    }

    fn trusted(&self) -> u64 {
        self.trusted.load(Ordering::Acquire)
    }

    /// Invalidates the checks in the queue.
    pub(crate) fn restart(&self) {
        self.trusted.fetch_add(1, Ordering::AcqRel);
    }

    /// Returns whether the verifying thread runs.
    #[cfg(test)]
    pub(crate) fn is_working(&self) -> bool {
        self.lock().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<SyncSender<Check>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): spreads consecutive numbers evenly.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Returns the memory that a request holds besides its head, bytes.
fn request_bytes(request: &Request) -> u64 {
    let bytes = match request {
        Request::Payload { body, .. } => body.len(),
        Request::Query(pairs) => pairs.iter().map(|(name, value)| name.len() + value.len()).sum(),
        Request::Http(request) => request.body().len(),
    };
    bytes as u64
}

impl Check {
    fn bytes(&self) -> u64 {
        request_bytes(&self.request) + self.cached.bytes()
    }
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
        let mut outcome = format!(
            "computed again, it answered {}, and not {}",
            disagreement.computed, disagreement.remembered
        );
        if let Err(error) = written {
            outcome.push_str(&format!("; that couldn't be written down: {error}"));
        }
        if let Err(error) = removed {
            outcome.push_str(&format!("; its stored results couldn't be removed: {error}"));
        }
        let entry = LogEntry {
            at_unix_s: disagreement.at_unix_s,
            version: function.record.version,
            outcome,
            duration_us: 0,
            output: String::new(),
        };
        self.results().logs().push(function.record.name.clone(), entry);
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
        Verdict::Agreed => Counts { verified: 1, ..Counts::default() },
        Verdict::Disagreed(disagreement) => {
            runtime.distrust(function, &disagreement);
            Counts { verified: 1, disagreed: 1, ..Counts::default() }
        }
    };
    runtime.results().count(&function.record.name, counts);
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
        remembered: shown(&cached.result),
        computed: shown(&called.result),
        engines: [cached.engine.as_ref().to_owned(), nebula_engine::identity().to_owned()],
        at_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sampling_matches_the_requested_share() {
        for share in [0.0, 0.001, 0.25, 1.0] {
            let verification = Verification::new(share);
            // Many counters with few hits each, as when most functions are rarely called.
            let hits = (0..10_000).flat_map(|_| {
                let begin = verification.begin();
                (0..10).map(move |index| begin.wrapping_add(index))
            });
            let sampled = hits.filter(|number| verification.samples(*number)).count() as f64;
            let expected = share * 100_000.0;
            // Five standard deviations of a fair draw.
            assert!(
                (sampled - expected).abs() <= 5.0 * (expected * (1.0 - share)).sqrt(),
                "{share}: {sampled}"
            );
        }
    }
}
