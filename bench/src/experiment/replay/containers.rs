//! A replay against containers of runc: one for each call, or one that waits for the next call of
//! its function.

use std::thread;
use std::time::{Duration, Instant};

use super::{Made, Observation, Task, sleep_until};
use crate::cores;
use crate::experiment::arm::{Arm, Setup};
use crate::experiment::arms::container::Bundle;
use crate::experiment::arms::native::ProcessPerCall;
use crate::experiment::kept::KeptContainer;
use crate::experiment::tools::Root;

/// The time between two readings of the memory. A container for one call exists for about 15 ms.
const MEMORY_STEP: Duration = Duration::from_millis(5);

/// # Errors
/// Returns an error if a container fails or gives another answer.
pub(super) fn run(task: &Task<'_>, keep_alive: Duration) -> anyhow::Result<Observation> {
    let container_path = task.group.container_path();
    let setup = Setup {
        tools: task.work.tools,
        cores: task.work.cores,
        function: task.work.function,
        input: task.work.input,
        delay: None,
        container_path: container_path.as_deref(),
    };
    let program = if keep_alive.is_zero() { "nebula-native" } else { "nebula-native-serve" };
    // A platform has the description of a container before the first call.
    let bundle = |_| Bundle::create(setup, Root::Minimal, program, !keep_alive.is_zero());
    let bundles = (0..task.stretch.functions).map(bundle).collect::<anyhow::Result<Vec<_>>>()?;
    task.group.within(|| {
        task.observe(MEMORY_STEP, |begun| {
            thread::scope(|scope| {
                let function = |(function, bundle)| {
                    scope.spawn(move || {
                        // A process inherits the cores of the thread that starts it.
                        cores::pin(&task.work.cores.server)?;
                        if keep_alive.is_zero() {
                            call_each(task, function, bundle, begun)
                        } else {
                            call_kept(task, function, bundle, keep_alive, begun)
                        }
                    })
                };
                let functions: Vec<_> = bundles.iter().enumerate().map(function).collect();
                let mut all = Made::default();
                for function in functions {
                    all.add(function.join().map_err(|_| anyhow::anyhow!("a function panicked"))??);
                }
                Ok(all)
            })
        })
    })
}

/// Returns the moments at which a function is due.
fn due(task: &Task<'_>, function: usize, begun: Instant) -> impl Iterator<Item = Instant> {
    task.calls.iter().filter(move |call| call.function == function).map(move |call| begun + call.at)
}

/// Starts a container for each call.
fn call_each(task: &Task<'_>, function: usize, bundle: &Bundle, begun: Instant) -> anyhow::Result<Made> {
    let mut process = ProcessPerCall::of(bundle.run(), task.work.input);
    let mut made = Made::default();
    for due in due(task, function, begun) {
        sleep_until(due);
        let answer = process.call()?;
        made.add(Made { cold_starts: 1, slowest: due.elapsed() });
        task.work.function.ensure_same(task.expected, &answer.body)?;
        process.settle()?;
    }
    Ok(made)
}

/// A container that waits for the next call, until a moment.
struct Kept {
    container: KeptContainer,
    until: Instant,
}

impl Kept {
    fn end(self, bundle: &Bundle) {
        sleep_until(self.until);
        self.container.end(bundle);
    }
}

/// Starts a container for a call if none waits.
fn call_kept(
    task: &Task<'_>,
    function: usize,
    bundle: &Bundle,
    keep_alive: Duration,
    begun: Instant,
) -> anyhow::Result<Made> {
    let mut made = Made::default();
    let mut waiting: Option<Kept> = None;
    for due in due(task, function, begun) {
        if let Some(kept) = waiting.take_if(|kept| kept.until < due.max(Instant::now())) {
            kept.end(bundle);
        }
        sleep_until(due);
        let (mut container, cold_starts) = match waiting.take() {
            Some(kept) => (kept.container, 0),
            None => (KeptContainer::start(task.work, bundle)?, 1),
        };
        let answer = container.caller.call()?;
        made.add(Made { cold_starts, slowest: due.elapsed() });
        task.work.function.ensure_same(task.expected, &answer.body)?;
        waiting = Some(Kept { container, until: Instant::now() + keep_alive });
    }
    if let Some(kept) = waiting {
        kept.end(bundle);
    }
    Ok(made)
}
