//! Measures what waits for calls: a server of Nebula with a whole population, and a container of one
//! function.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::arms::ArmKind;
use super::clock::{OpenArm, Work};
use super::hour::IdleCost;
use super::http::HttpCaller;
use crate::cores;
use crate::deployed::{DeployedFunctions, Size};
use crate::footprint::{self, Activity};
use crate::server::{Server, StandardStream, nebula_serve};

/// The time from the last call to the window, in which a server gives memory back.
const REST: Duration = Duration::from_secs(2);

/// The time for which calls keep a server awake. It drops a prepared instance that isn't called for 2 s.
const AWAKE: Duration = Duration::from_secs(4);

/// The time between two such calls.
const CALL_INTERVAL: Duration = Duration::from_millis(500);

/// The calls before a container rests.
const CALLS: usize = 5;

/// The costs of waiting.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Waiting {
    /// The functions that Nebula's server has.
    pub(crate) functions: usize,
    /// The server before any function has been called.
    pub(crate) nebula_uncalled: IdleCost,
    /// The same server after each function has been called once, while calls of one of them go on.
    pub(crate) nebula: IdleCost,
    /// A server with one function that has been called once.
    pub(crate) nebula_single: IdleCost,
    /// A warm container with its runtime's process, if there is one here.
    pub(crate) container: Option<IdleCost>,
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
    let nebula = |functions| nebula(functions, &component, work, window);
    let container = arms.contains(&ArmKind::ContainerWarm).then(|| container(work, window)).transpose()?;
    let (population, single) = (nebula(functions)?, nebula(1)?);
    Ok(Waiting {
        functions,
        nebula_uncalled: population.uncalled,
        nebula: IdleCost { memory_bytes: population.awake_bytes, ..population.called },
        nebula_single: single.called,
        container,
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

/// A server that waits.
struct WaitingServer {
    uncalled: IdleCost,
    /// The memory after all functions were called, while calls of one go on.
    awake_bytes: f64,
    /// The costs after the last call, when the server has unloaded all functions.
    called: IdleCost,
}

fn nebula(
    functions: usize,
    component: &Path,
    work: Work<'_>,
    window: Duration,
) -> anyhow::Result<WaitingServer> {
    let deployed = deployed(functions, component, work)?;
    let serve = nebula_serve(&work.tools.nebula, deployed.path());
    let server = Server::start(&serve, StandardStream::Stdout, 2, work.cores)?;
    let uncalled = idle(server.pid(), window)?;
    let mut caller = HttpCaller::connect(server.addresses[0], "/", work.function.media_type(), work.input)?;
    for name in deployed.names() {
        caller.prepare(&format!("/f/{name}"), work.function.media_type(), work.input);
        caller.call()?;
    }
    let awake_bytes = awake(server.pid(), &mut caller)?;
    // The server waits for its connections when it stops.
    drop(caller);
    let called = idle(server.pid(), window)?;
    server.stop()?;
    Ok(WaitingServer { uncalled, awake_bytes, called })
}

/// Returns the memory of a server that calls of one function keep from resting. The others are not
/// called for long enough that it drops their prepared instances.
fn awake(pid: u32, caller: &mut HttpCaller) -> anyhow::Result<f64> {
    let end = Instant::now() + AWAKE;
    while Instant::now() < end {
        caller.call()?;
        thread::sleep(CALL_INTERVAL);
    }
    Ok(footprint::memory(pid)?.proportional as f64)
}

fn container(work: Work<'_>, window: Duration) -> anyhow::Result<IdleCost> {
    let mut arm = OpenArm::open(ArmKind::ContainerWarm, work, None)?;
    for _ in 0..CALLS {
        arm.call()?;
    }
    let cost = idle(arm.server_pid().context("the container has no process")?, window)?;
    arm.dispose()?;
    Ok(cost)
}

/// Observes a process and its descendants while no calls arrive.
fn idle(pid: u32, window: Duration) -> anyhow::Result<IdleCost> {
    thread::sleep(REST);
    let before = Activity::of(pid)?;
    thread::sleep(window);
    let cpu = Activity::of(pid)?.cpu_since(&before);
    let memory_bytes = footprint::memory(pid)?.proportional as f64;
    Ok(IdleCost { memory_bytes, cpu_share: cpu.as_secs_f64() / window.as_secs_f64() })
}

fn cores_of(work: Work<'_>) -> Vec<usize> {
    [&work.cores.server[..], &work.cores.load].concat()
}
