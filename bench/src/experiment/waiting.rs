//! Measures what waits for calls: a server of Nebula with a whole population, and containers.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::arm::Setup;
use super::arms::ArmKind;
use super::arms::container::Bundle;
use super::arms::wasmtime;
use super::clock::{self, StampedAnswer, Work};
use super::hour::{IdleCost, Ready};
use super::http::HttpCaller;
use super::kept::KeptContainer;
use super::tools::Root;
use crate::cores;
use crate::deployed::{DeployedFunctions, Size};
use crate::footprint::{self, Activity};
use crate::server::{Server, StandardStream, nebula_serve};

/// The time from the last call to the window, in which a server gives memory back.
const REST: Duration = Duration::from_secs(2);

/// The server looks every two seconds whether it may rest.
const REST_MARGIN: Duration = Duration::from_secs(8);

/// The time for which Nebula keeps an instance ready after a call: it looks every two seconds which
/// functions were called since it last did.
const READY_TIME: Duration = Duration::from_secs(3);

/// The time after the last call of a function at which Nebula unloads it while others are called: it
/// looks once a minute which ones weren't called for a minute.
pub(crate) const NEBULA_UNLOADS_AFTER: Duration = Duration::from_secs(90);

/// The time after the last call of all at which Nebula unloads everything.
pub(crate) const NEBULA_RESTS_AFTER: Duration = Duration::from_secs(22);

/// The time after which no instance is ready any more.
const AWAKE: Duration = Duration::from_secs(5);

/// The time between two calls that keep a server awake.
const CALL_INTERVAL: Duration = Duration::from_millis(500);

/// The time between calls of different functions. A server prepares no instance if the next call
/// follows at once.
const PREPARE: Duration = Duration::from_millis(2);

/// The functions that are called shortly before memory is read, at most.
const READY_FUNCTIONS_MAX: usize = 100;

/// The calls before a container rests.
const CALLS: usize = 5;

/// The containers, or servers of one function, that wait at the same time.
const TOGETHER: usize = 8;

/// The calls of a server that has rested before each.
const CALLS_AFTER_REST: usize = 5;

/// The time after a call in which a server does what no caller waits for.
const AFTERWARDS: Duration = Duration::from_millis(100);

/// The costs of waiting.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Waiting {
    /// The functions that Nebula's server has.
    pub(crate) functions: usize,
    /// A server with all functions.
    pub(crate) nebula: NebulaWaiting,
    /// A server with one function.
    pub(crate) nebula_single: NebulaWaiting,
    /// A warm container with its runtime's process, if there is one here: one of several, which share
    /// the pages of the runtime's program.
    pub(crate) container: Option<IdleCost>,
    /// A warm container alone.
    pub(crate) container_single: Option<IdleCost>,
    /// The same two of `wasmtime serve`, which has one function.
    pub(crate) wasmtime: Option<IdleCost>,
    pub(crate) wasmtime_single: Option<IdleCost>,
}

/// A server of Nebula that waits for calls.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct NebulaWaiting {
    /// The server before any function has been called.
    pub(crate) uncalled: IdleCost,
    /// The memory of a loaded function, while calls of others go on.
    pub(crate) loaded_bytes: f64,
    /// The memory that it prepares for the next call of a function that was just called.
    pub(crate) ready_bytes: f64,
    /// The server after the last call, when it has unloaded all functions.
    pub(crate) rested: IdleCost,
    /// Calls of a server with one function that has unloaded it.
    pub(crate) calls_after_rest: Vec<CallAfterRest>,
}

/// A call of a server that has rested.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct CallAfterRest {
    pub(crate) time_s: f64,
    pub(crate) cpu_s: f64,
}

impl NebulaWaiting {
    pub(crate) fn ready(&self) -> Ready {
        Ready { time: READY_TIME, memory_bytes: self.ready_bytes }
    }
}

/// Measures for `window` each.
///
/// # Errors
/// Returns an error if a server fails.
pub(crate) fn measure(
    functions: usize,
    arms: &[ArmKind],
    work: Work<'_>,
    window: Duration,
) -> anyhow::Result<Waiting> {
    let component = work.tools.component(work.function)?;
    let container =
        |count| arms.contains(&ArmKind::ContainerWarm).then(|| containers(count, work, window)).transpose();
    let server = |count| {
        arms.contains(&ArmKind::WasmtimeServe).then(|| wasmtime_servers(count, work, window)).transpose()
    };
    Ok(Waiting {
        functions,
        nebula: nebula(functions, &component, work, window)?,
        nebula_single: nebula(1, &component, work, window)?,
        container: container(TOGETHER)?,
        container_single: container(1)?,
        wasmtime: server(TOGETHER)?,
        wasmtime_single: server(1)?,
    })
}

/// The functions of a population on disk, compiled. Whoever asks first deploys them.
///
/// # Errors
/// Returns an error if a deploy fails.
pub(crate) fn deployed(
    functions: usize,
    component: &Path,
    work: Work<'_>,
) -> anyhow::Result<DeployedFunctions> {
    // The deploys use all cores.
    cores::pin(&cores_of(work))?;
    let count = u32::try_from(functions)?;
    let deployed = DeployedFunctions::shared(component, Size { functions: count, variants: count });
    cores::pin(&work.cores.load)?;
    deployed
}

fn nebula(
    functions: usize,
    component: &Path,
    work: Work<'_>,
    window: Duration,
) -> anyhow::Result<NebulaWaiting> {
    let deployed = deployed(functions, component, work)?;
    let serve = nebula_serve(&work.tools.nebula, deployed.path());
    let server = Server::start(&serve, StandardStream::Stdout, 2, work.cores)?;
    let uncalled = idle(server.pid(), window)?;
    let mut caller = HttpCaller::connect(server.addresses[0], "/", work.function.media_type(), work.input)?;
    let mut call_each = |count, gap| {
        for name in deployed.names().take(count) {
            thread::sleep(gap);
            caller.prepare(&format!("/f/{name}"), work.function.media_type(), work.input);
            caller.call()?;
        }
        anyhow::Ok(())
    };
    let memory = || Ok::<_, anyhow::Error>(footprint::memory(server.pid())?.proportional as f64);
    call_each(functions, Duration::ZERO)?;
    // Calls of one function keep the server awake until no instance of another is ready.
    let end = Instant::now() + AWAKE;
    while Instant::now() < end {
        call_each(1, CALL_INTERVAL)?;
    }
    let loaded = memory()?;
    let just_called = functions.min(READY_FUNCTIONS_MAX);
    call_each(just_called, PREPARE)?;
    let ready = memory()?;
    // A check doesn't wait that long: its figures mean nothing.
    let rest = if window < REST { window } else { NEBULA_RESTS_AFTER + REST_MARGIN };
    thread::sleep(rest);
    let rested = idle(server.pid(), window)?;
    let mut calls_after_rest = Vec::new();
    for count in 0..if functions == 1 { CALLS_AFTER_REST } else { 0 } {
        // It has rested before the first one.
        thread::sleep(if count == 0 { Duration::ZERO } else { rest });
        calls_after_rest.push(call_after_rest(&server, &mut caller)?);
    }
    // The server waits for its connections when it stops.
    drop(caller);
    server.stop()?;
    let of_each = |bytes: f64, count: usize| bytes.max(0.0) / count.max(1) as f64;
    Ok(NebulaWaiting {
        uncalled,
        loaded_bytes: of_each(loaded - uncalled.memory_bytes, functions),
        ready_bytes: of_each(ready - loaded, just_called),
        rested,
        calls_after_rest,
    })
}

fn call_after_rest(server: &Server, caller: &mut HttpCaller) -> anyhow::Result<CallAfterRest> {
    let before = Activity::of(server.pid())?;
    let StampedAnswer { total, .. } = clock::stamp(|| caller.call())?;
    thread::sleep(AFTERWARDS);
    let cpu = Activity::of(server.pid())?.run_time_since(&before);
    Ok(CallAfterRest { time_s: total.as_secs_f64(), cpu_s: cpu.as_secs_f64() })
}

/// Measures one of `count` containers that wait at the same time.
fn containers(count: usize, work: Work<'_>, window: Duration) -> anyhow::Result<IdleCost> {
    let group = work.accounts.group("containers-that-wait")?;
    let path = group.container_path();
    let Work { tools, cores, function, input, .. } = work;
    let setup = Setup { tools, cores, function, input, delay: None, container_path: path.as_deref() };
    let bundle = |_| Bundle::create(setup, Root::Minimal, "nebula-native-serve", true);
    let bundles = (0..count).map(bundle).collect::<anyhow::Result<Vec<_>>>()?;
    let mut containers = Vec::new();
    for bundle in &bundles {
        let mut container = KeptContainer::start(work, bundle)?;
        for _ in 0..CALLS {
            container.caller.call()?;
        }
        containers.push(container);
    }
    let pids: Vec<u32> = containers.iter().map(KeptContainer::pid).collect();
    let cost = idle_of_each(&pids, window)?;
    for (container, bundle) in containers.into_iter().zip(&bundles) {
        container.end(bundle);
    }
    Ok(cost)
}

/// Measures one of `count` servers of wasmtime that wait at the same time.
fn wasmtime_servers(count: usize, work: Work<'_>, window: Duration) -> anyhow::Result<IdleCost> {
    let Work { tools, cores, function, input, .. } = work;
    let serve = wasmtime::serve(tools, function)?;
    let mut servers = Vec::new();
    for _ in 0..count {
        let server = Server::start(&serve, StandardStream::Stderr, 1, cores)?;
        let mut caller = HttpCaller::connect(
            server.addresses[0],
            &wasmtime::path(function),
            function.media_type(),
            input,
        )?;
        for _ in 0..CALLS {
            caller.call()?;
        }
        servers.push(server);
    }
    let pids: Vec<u32> = servers.iter().map(Server::pid).collect();
    idle_of_each(&pids, window)
}

/// Observes a process and its descendants while no calls arrive.
fn idle(pid: u32, window: Duration) -> anyhow::Result<IdleCost> {
    idle_of_each(&[pid], window)
}

/// Observes processes and their descendants while no calls arrive. Returns their average.
fn idle_of_each(pids: &[u32], window: Duration) -> anyhow::Result<IdleCost> {
    let activities = || pids.iter().map(|pid| Activity::of(*pid)).collect::<anyhow::Result<Vec<_>>>();
    thread::sleep(REST);
    let before = activities()?;
    thread::sleep(window);
    let mut cost = IdleCost::default();
    for ((before, after), pid) in before.iter().zip(activities()?).zip(pids) {
        cost.cpu_share += after.run_time_since(before).as_secs_f64() / window.as_secs_f64();
        cost.memory_bytes += footprint::memory(*pid)?.proportional as f64;
    }
    let count = pids.len().max(1) as f64;
    Ok(IdleCost { memory_bytes: cost.memory_bytes / count, cpu_share: cost.cpu_share / count })
}

fn cores_of(work: Work<'_>) -> Vec<usize> {
    [&work.cores.server[..], &work.cores.load].concat()
}
