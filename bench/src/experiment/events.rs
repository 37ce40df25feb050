//! Measures the events of the idle hour, each alone: a start from each state, and a warm call after
//! each time without a call.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::arm::Setup;
use super::arms::ArmKind;
use super::arms::container::Bundle;
use super::clock::{OpenArm, Work};
use super::held::{self, Held};
use super::hour::{CostAfter, EventCost, WarmCost};
use super::kept::KeptContainer;
use super::tools::Root;
use crate::cores;

/// The time between two readings of the memory.
const MEMORY_STEP: Duration = Duration::from_millis(5);

/// The times between calls. After the last one, Nebula has no instance ready any more.
const GAPS: [Duration; 6] = [
    Duration::from_micros(100),
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(5),
];

/// The most calls of a gap.
const CALLS_MAX: f64 = 2_000.0;

/// The extent of the measuring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// The starts of each kind.
    pub(crate) starts: u32,
    /// The time for which calls with the same gap are made.
    pub(crate) window: Duration,
    /// The calls of a gap, at least.
    pub(crate) calls_min: u32,
}

/// The costs of all events.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Events {
    /// The start of an arm, with its call.
    pub(crate) starts: BTreeMap<ArmKind, EventCost>,
    /// The start of a container that waits after its call, and its end, by the arm with the same root.
    pub(crate) kept: BTreeMap<ArmKind, EventCost>,
    /// A call of an arm that waits for calls.
    pub(crate) warm: BTreeMap<ArmKind, WarmCost>,
}

/// Measures the events of the arms that run here.
///
/// # Errors
/// Returns an error if an arm fails.
pub(crate) fn measure(extent: Extent, arms: &[ArmKind], work: Work<'_>) -> anyhow::Result<Events> {
    let mut events = Events::default();
    // Only together with the container that waits can the cost of a kept one be told.
    let keeps = arms.contains(&ArmKind::ContainerWarm);
    for arm in arms.iter().copied() {
        let (starts, root) = match arm {
            ArmKind::NebulaCold
            | ArmKind::NebulaScaledToZero
            | ArmKind::NativeProcess
            | ArmKind::WasmtimeRun
            | ArmKind::ContainerEngine => (extent.starts, None),
            // A start takes seconds.
            ArmKind::MicroVm => (extent.starts.div_ceil(10), None),
            ArmKind::ContainerMinimal => (extent.starts, Some(Root::Minimal)),
            ArmKind::ContainerDebian => (extent.starts, Some(Root::Debian)),
            ArmKind::NebulaFresh | ArmKind::WasmtimeServe | ArmKind::ContainerWarm => {
                events.warm.insert(arm, warm(arm, extent, work)?);
                (0, None)
            }
            ArmKind::NebulaRemembered | ArmKind::NebulaPipeline | ArmKind::NativeCall | ArmKind::Spin => {
                (0, None)
            }
        };
        if starts > 0 {
            events.starts.insert(arm, start(arm, starts, work)?);
        }
        if let Some(root) = root.filter(|_| keeps) {
            events.kept.insert(arm, kept(root, extent.starts, work)?);
        }
    }
    Ok(events)
}

/// Measures calls of which each starts something. Memory that a server holds anyway isn't in it.
fn start(arm: ArmKind, count: u32, work: Work<'_>) -> anyhow::Result<EventCost> {
    let mut open = OpenArm::open(arm, work, None)?;
    // The first one may read files.
    open.call()?;
    let Held { value: cpu_us, byte_s } = held::during(MEMORY_STEP, || {
        (0..count).try_fold(0.0, |sum, _| anyhow::Ok(sum + open.call()?.sample.cpu_us))
    })?;
    open.dispose()?;
    let count = f64::from(count);
    let byte_s = if arm == ArmKind::NebulaCold { 0.0 } else { byte_s / count };
    Ok(EventCost { cpu_s: cpu_us / 1e6 / count, byte_s })
}

/// Measures containers that are started, called once, and ended.
fn kept(root: Root, count: u32, work: Work<'_>) -> anyhow::Result<EventCost> {
    let group = work.accounts.group("container-kept")?;
    let path = group.container_path();
    let Work { tools, cores, function, input, .. } = work;
    let setup = Setup { tools, cores, function, input, delay: None, container_path: path.as_deref() };
    let bundle = Bundle::create(setup, root, "nebula-native-serve", true)?;
    let start_and_end = || {
        let mut container = KeptContainer::start(work, &bundle)?;
        container.caller.call()?;
        container.end(&bundle);
        anyhow::Ok(())
    };
    cores::pin(&cores.server)?;
    let accounted = group.within(|| {
        start_and_end()?;
        group.account(|| held::during(MEMORY_STEP, || (0..count).try_for_each(|_| start_and_end())))
    });
    cores::pin(&cores.load)?;
    let accounted = accounted?;
    let count = f64::from(count);
    Ok(EventCost { cpu_s: accounted.cpu.as_secs_f64() / count, byte_s: accounted.value.byte_s / count })
}

/// Measures calls of an arm that is warm, after each gap.
fn warm(arm: ArmKind, extent: Extent, work: Work<'_>) -> anyhow::Result<WarmCost> {
    let mut open = OpenArm::open(arm, work, None)?;
    let mut callers = open.callers(1)?;
    let mut by_gap = Vec::new();
    for gap in GAPS {
        let calls = extent.window.as_secs_f64() / gap.as_secs_f64();
        let calls = calls.clamp(f64::from(extent.calls_min), CALLS_MAX).round() as u32;
        let accounted = open.account(|| {
            for _ in 0..calls {
                thread::sleep(gap);
                for caller in &mut callers {
                    caller.call()?;
                }
            }
            Ok(())
        })?;
        let cpu_s = accounted.cpu.as_secs_f64() / f64::from(calls);
        by_gap.push(CostAfter { gap_s: gap.as_secs_f64(), cpu_s });
    }
    drop(callers);
    open.dispose()?;
    Ok(WarmCost { by_gap })
}
