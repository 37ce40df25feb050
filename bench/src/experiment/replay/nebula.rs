//! A replay against a server of Nebula that has the whole population deployed, and nothing loaded.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Made, Observation, Task, sleep_until};
use crate::cores;
use crate::experiment::http::HttpCaller;
use crate::experiment::waiting;
use crate::server::{Server, StandardStream, cache_report, nebula_serve};

/// The connections over which calls are made. A call that finds none free is late.
const CALLERS: usize = 8;

/// The time between two readings of the memory.
const MEMORY_STEP: Duration = Duration::from_millis(50);

/// # Errors
/// Returns an error if the server fails or gives another answer.
pub(super) fn run(task: &Task<'_>) -> anyhow::Result<Observation> {
    let work = task.work;
    let component = work.tools.component(work.function)?;
    let deployed = waiting::deployed(task.stretch.functions, &component, work)?;
    let paths: Vec<String> = deployed.names().map(|name| format!("/f/{name}")).collect();
    task.group.within(|| {
        let serve = nebula_serve(&work.tools.nebula, deployed.path());
        let server = Server::start(&serve, StandardStream::Stdout, 2, work.cores)?;
        let observed = task.observe(MEMORY_STEP, |begun| {
            let made = call_all(task, server.addresses[0], &paths, begun)?;
            sleep_until(begun + task.stretch.length);
            Ok(made)
        })?;
        // The server has just started: it has read each function that was called, once.
        let cold_starts = cache_report(&work.tools.nebula, &server, deployed.path())?.loaded.reads;
        server.stop()?;
        Ok(Observation { cold_starts: usize::try_from(cold_starts)?, ..observed })
    })
}

fn call_all(task: &Task<'_>, server: SocketAddr, paths: &[String], begun: Instant) -> anyhow::Result<Made> {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let callers: Vec<_> =
            (0..CALLERS).map(|_| scope.spawn(|| call_next(task, server, paths, begun, &next))).collect();
        let mut all = Made::default();
        for caller in callers {
            all.add(caller.join().map_err(|_| anyhow::anyhow!("a caller panicked"))??);
        }
        Ok(all)
    })
}

/// Makes the calls that no other caller has made, one after the other.
fn call_next(
    task: &Task<'_>,
    server: SocketAddr,
    paths: &[String],
    begun: Instant,
    next: &AtomicUsize,
) -> anyhow::Result<Made> {
    let function = task.work.function;
    cores::pin(&task.work.cores.load)?;
    let mut caller = HttpCaller::connect(server, "/", function.media_type(), task.work.input)?;
    let mut made = Made::default();
    while let Some(call) = task.calls.get(next.fetch_add(1, Ordering::Relaxed)) {
        let due = begun + call.at;
        caller.prepare(&paths[call.function], function.media_type(), task.work.input);
        sleep_until(due);
        function.ensure_same(task.expected, &caller.call()?.body)?;
        made.add(Made { cold_starts: 0, slowest: due.elapsed() });
    }
    Ok(made)
}
