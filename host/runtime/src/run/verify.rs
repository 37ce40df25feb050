//! Answers that were remembered, computed again while the machine has nothing else to do, and compared.
//!
//! ```text
//! hit --(one in so many)--> queue --> a thread that runs when no other wants the core --> agreed | undecided
//!                                                                                  \--> disagreed
//! ```
//!
//! That a function is pure is enforced; that the enforcement and the machine's memory are as good as they are held to be, and
//! for what is on disk the compiler that was in use then, is what is checked here. Where two computations disagree none of the component's results can be relied on: there is an
//! alarm, they are forgotten, and nothing of the component is remembered until somebody says so. The input is kept
//! ([`inputs`](crate::inputs)), so that it can be run again by hand.
//!
//! Invariants:
//! * No call waits for a check: where the queue is full there is none.
//! * Checks take at most a [`CORE_PART`] of one core, however many are asked for.
//! * What says nothing, such as a deadline that has passed, is no disagreement.
//! * A hit is checked soon or not at all: some time after the last one there is no thread.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nebula_cache::Counts;
use nebula_engine::priority;
use nebula_engine::{Allowance, Wanted, thread_time};
use nebula_model::answer::Answer;
use nebula_model::disagreement::Disagreement;
use nebula_model::id::Digest;
use nebula_model::request::{Prefer, Request};
use nebula_store::LogEntry;

use super::code::{Code, components};
use crate::cached::Remembered;
use crate::call::function::Function;
use crate::call::invoke;
use crate::call::invoke::{Called, Outcome};
use crate::pool::Pool;
use crate::receipt::document;
use crate::runtime::{Runtime, WeakRuntime};

/// One core's time is at least so many times what checks take.
const CORE_PART: u32 = 200;

/// Checks that wait, at most.
const QUEUE_MAX: usize = 64;

/// What they hold together, bytes; beyond it there is none.
const QUEUED_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Without a check for so long the thread ends, and what it has loaded goes.
const IDLE: Duration = Duration::from_secs(5);

/// The longest pause between two checks: after a call of seconds the next may come before it has had its share.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// The longest a check waits; after that it is dropped, so that an idle machine comes to rest.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Stack of the thread, bytes: guests run on it.
const STACK_BYTES: usize = 4 * 1024 * 1024;

/// Which hits are checked, and those that wait for it.
pub(crate) struct Verification {
    /// Of 2^64.
    part: u64,
    salt: u64,
    queued_bytes: AtomicU64,
    /// Goes up whenever somebody says that results are to be relied on again.
    trusted: AtomicU64,
    begun: AtomicU64,
    queue: Mutex<Option<SyncSender<Check>>>,
}

/// A hit to be checked.
pub(crate) struct Check {
    pub(crate) function: Arc<Function>,
    pub(crate) request: Request,
    pub(crate) prefer: Prefer,
    pub(crate) remembered: Arc<Remembered>,
    trusted: u64,
    asked_at: Instant,
}

/// What a check comes to.
enum Verdict {
    Agreed,
    /// It wasn't to be had now, or not in time.
    Undecided,
    Disagreed(Box<Disagreement>),
}

impl Verification {
    /// Of `share` of the hits, from 0 to 1.
    pub(crate) fn new(share: f64) -> Self {
        // Differs between processes, so that they don't check the same; a bad one makes no difference.
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

    /// Where somebody begins who counts hits: far from everybody else.
    pub(crate) fn begin(&self) -> u64 {
        mixed(self.begun.fetch_add(1, Ordering::Relaxed) ^ self.salt)
    }

    /// Whether the hit with this number is checked.
    pub(crate) fn samples(&self, number: u64) -> bool {
        self.part > 0 && mixed(number) <= self.part
    }

    fn trusted(&self) -> u64 {
        self.trusted.load(Ordering::Acquire)
    }

    /// What waits to be checked is no use any more.
    pub(crate) fn begin_anew(&self) {
        self.trusted.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether there is a thread for it.
    #[cfg(test)]
    pub(crate) fn is_working(&self) -> bool {
        self.lock().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<SyncSender<Check>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): numbers that follow one another come out evenly spread.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// What a request holds besides its head, bytes.
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
        request_bytes(&self.request) + self.remembered.bytes()
    }
}

impl Runtime {
    /// Has a hit checked, some time when there is nothing else to do: what `function` was asked, and answered from memory.
    pub(crate) fn verify(
        &self,
        function: &Arc<Function>,
        (request, prefer): (&Request, Prefer),
        remembered: &Arc<Remembered>,
    ) {
        let verification = self.verification();
        let bytes = request_bytes(request) + remembered.bytes();
        let queued = &verification.queued_bytes;
        let fits = queued.fetch_add(bytes, Ordering::Relaxed) + bytes <= QUEUED_BYTES_MAX;
        let check = || Check {
            function: Arc::clone(function),
            request: request.compact(),
            prefer,
            remembered: Arc::clone(remembered),
            trusted: verification.trusted(),
            asked_at: Instant::now(),
        };
        if !fits || !self.enqueue(check()) {
            queued.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Whether it waits now. The thread is started by the first.
    fn enqueue(&self, check: Check) -> bool {
        // A thread that waits for its core may have it.
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
            // The thread has panicked: the next check has another.
            Some(Err(TrySendError::Disconnected(_))) => {
                *queue = None;
                false
            }
            Some(Err(TrySendError::Full(_))) | None => false,
        }
    }

    /// What the component of a function is held to be: its results are gone, and nothing of it is remembered.
    fn distrust(&self, function: &Function, disagreement: &Disagreement) {
        // Where it can't be written down it holds until the next start.
        let written = self.results().distrust(disagreement);
        self.functions().forget_all();
        let mut components = HashSet::from([disagreement.component]);
        // A pipeline that can't be read can't be called either.
        components.extend(self.deployer().pipelines_of(&disagreement.component).unwrap_or_default());
        self.results().forget(components);
        let mut outcome = format!(
            "computed again, it answered {}, and not {}",
            disagreement.computed, disagreement.remembered
        );
        if let Err(error) = written {
            outcome.push_str(&format!("; that couldn't be written down: {error}"));
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

/// The thread's work: to the end of the runtime, or of the checks.
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
                // One may have come in between.
                let Ok(check) = checks.try_recv() else {
                    *queue = None;
                    return;
                };
                check
            }
        };
        runtime.verification().queued_bytes.fetch_sub(check.bytes(), Ordering::Relaxed);
        if check.asked_at.elapsed() > WAIT_MAX {
            continue;
        }
        // Its own: what other threads run on isn't held up by one that waits for its core.
        let pool = match &mut pool {
            Some(pool) => pool,
            none => match runtime.executor().new_pool_of(1) {
                Ok(pool) => none.insert(pool),
                // No address space for another instance: nothing is checked.
                Err(_) => continue,
            },
        };
        let before = thread_time();
        run(&runtime, pool, &check);
        // What else there may be of the runtime is let go.
        drop((runtime, check));
        // Of its own time: how long it waited for the core doesn't count.
        let spent = thread_time().saturating_sub(before);
        thread::sleep((spent * (CORE_PART - 1)).min(PAUSE_MAX));
    }
}

fn run(runtime: &Runtime, pool: &Pool, check: &Check) {
    let function = &check.function;
    // One alarm is enough; and what was remembered before somebody said that all is well again says nothing.
    let is_over = || {
        // Also of a pipeline's functions: what is wrong with one shows in the whole.
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
        // While it was computed, too.
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
    let Check { function, request, prefer, remembered, .. } = check;
    // Nothing is compiled for it.
    let Ok(Some(code)) = runtime.code_in(pool, function) else { return Verdict::Undecided };
    let Ok(decoded) = invoke::decode(code.interface(), request, *prefer) else {
        return Verdict::Undecided;
    };
    let called = match &code {
        Code::Component(loaded) => {
            let now = Instant::now();
            let allowance = Allowance::long(now + function.limits().deadline(), Wanted::default());
            let (outcome, _spent) = invoke::run(function, loaded, &decoded, (now, now), allowance, None);
            let Outcome::Called(called) = outcome else { return Verdict::Undecided };
            called
        }
        // Step by step, also what was computed as one component.
        Code::Pipeline(staged) => runtime.run_again(function, staged, &decoded),
    };
    let agreed = match (&remembered.result, &called.result) {
        (Ok(remembered), Ok(computed)) => remembered.same(computed),
        (Err(remembered), Err(computed)) if computed.is_the_functions() => {
            remembered.to_string() == computed.to_string()
        }
        (_, Err(computed)) if !computed.is_the_functions() => return Verdict::Undecided,
        (Ok(_), Err(_)) | (Err(_), Ok(_) | Err(_)) => false,
    };
    if agreed { Verdict::Agreed } else { Verdict::Disagreed(Box::new(disagreement(runtime, check, &called))) }
}

fn disagreement(runtime: &Runtime, check: &Check, called: &Called) -> Disagreement {
    let Check { function, request, remembered, .. } = check;
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
        remembered: shown(&remembered.result),
        computed: shown(&called.result),
        engines: [remembered.engine.as_ref().to_owned(), nebula_engine::identity().to_owned()],
        at_unix_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_what_was_asked_for() {
        for share in [0.0, 0.001, 0.25, 1.0] {
            let verification = Verification::new(share);
            // Many that count a little, as where most functions are rarely called.
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
