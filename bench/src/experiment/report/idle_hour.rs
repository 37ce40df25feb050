//! The section of the report about the idle hour.

use std::time::Duration;

use nebula_telemetry::energy::{EnergyModel, carbon_g};

use crate::experiment::arms::ArmKind;
use crate::experiment::document::Block;
use crate::experiment::dots::Unit;
use crate::experiment::hour::{EventCost, IdleCost, KeepAlive, Platform, Population};
use crate::experiment::waiting::Waiting;

/// The hour of a population, and of one function that is rarely called.
pub(crate) fn blocks(
    waiting: &Waiting,
    grid_g_per_kwh: f64,
    event: impl Fn(ArmKind) -> Option<EventCost>,
) -> Vec<Block> {
    let platforms = platforms(waiting, event);
    if platforms.is_empty() {
        return Vec::new();
    }
    let population = Population::published(waiting.functions);
    let table = |population: &Population, is_single: bool| {
        let selected =
            platforms.iter().filter(|named| named.is_single.is_none_or(|single| single == is_single));
        Block::Table {
            heads: [
                "platform",
                "cold starts",
                "memory held",
                "processor time",
                "of it, idle",
                "energy, modelled",
                "carbon",
            ]
            .map(str::to_owned)
            .to_vec(),
            rows: selected.map(|named| named.row(population, grid_g_per_kwh)).collect(),
        }
    };
    let single = Population::single(1.0);
    vec![
        Block::Heading("An hour in which most functions are rarely called".to_owned()),
        Block::Text(format!(
            "{} functions, of which {} are called at most once in the hour and {} at most once per minute; {:.0} \
             calls in all. Rates are drawn from a log-normal distribution with the published shares of Azure \
             Functions in July 2019 (Shahrad et al., Serverless in the Wild, USENIX ATC 2020): 45 % at most once \
             per hour, 81 % at most once per minute. Calls are independent (Poisson).",
            population.functions(),
            population.at_most(1.0),
            population.at_most(60.0),
            population.calls()
        )),
        Block::Text(format!(
            "The hour is computed, not run: from the measured cost of a cold start, of a warm call, and of what \
             waits for calls. Each call is that of `fibonacci-recursive` with the small input. A container that \
             is kept alive pays for its cold start as one per call does. Memory is averaged over the hour; a \
             container's includes the process of its runtime. Carbon is the operational part of the Software \
             Carbon Intensity, in CO2 equivalents per hour, with {grid_g_per_kwh} g per kWh; what is embodied in \
             hardware isn't included."
        )),
        table(&population, false),
        Block::Text(
            "One function that is called once in the hour, and nothing else on the machine:".to_owned(),
        ),
        table(&single, true),
    ]
}

/// Combines the measured events to platforms, as far as their arms ran.
fn platforms(waiting: &Waiting, event: impl Fn(ArmKind) -> Option<EventCost>) -> Vec<NamedPlatform> {
    // A server's memory is in what waits.
    let in_server = |arm| Some(EventCost { memory_bytes: 0.0, ..event(arm)? });
    let minutes = |minutes: u64| KeepAlive::For(Duration::from_secs(minutes * 60));
    let none = IdleCost::default();
    let mut platforms = Vec::new();
    if let (Some(cold), Some(warm)) = (in_server(ArmKind::NebulaCold), in_server(ArmKind::NebulaFresh)) {
        for (always, is_single) in [(waiting.nebula, false), (waiting.nebula_single, true)] {
            let platform = Platform { cold, warm, keep_alive: KeepAlive::Always, instance: none, always };
            platforms.push(NamedPlatform::of("Nebula, always on", platform, Some(is_single)));
        }
        if let Some(cold) = event(ArmKind::NebulaScaledToZero) {
            // A server ends after its idle time, or up to twice that. Two settings: a minute, a second.
            for (name, waits_s) in [("scaled to zero after 1 min", 90.0), ("scaled to zero after 1 s", 1.5)] {
                let keep_alive = KeepAlive::For(Duration::from_secs_f64(waits_s));
                let platform =
                    Platform { cold, warm, keep_alive, instance: waiting.nebula_single, always: none };
                platforms.push(NamedPlatform::of(&format!("Nebula, {name}"), platform, Some(true)));
            }
        }
    }
    if let Some(cold) = event(ArmKind::NativeProcess) {
        let platform = Platform { cold, warm: cold, keep_alive: minutes(0), instance: none, always: none };
        platforms.push(NamedPlatform::of("native process per call", platform, None));
    }
    for (arm, root) in [(ArmKind::ContainerMinimal, "minimal"), (ArmKind::ContainerDebian, "Debian")] {
        let Some(cold) = event(arm) else { continue };
        for kept in [0, 1, 10] {
            let (warm, instance) = match (kept, in_server(ArmKind::ContainerWarm), waiting.container) {
                (0, ..) => (cold, none),
                (_, Some(warm), Some(instance)) => (warm, instance),
                _ => continue,
            };
            let platform = Platform { cold, warm, keep_alive: minutes(kept), instance, always: none };
            let name = match kept {
                0 => format!("container ({root}) per call"),
                _ => format!("container ({root}) kept for {kept} min"),
            };
            platforms.push(NamedPlatform::of(&name, platform, None));
        }
    }
    if let (Some(cold), Some(warm), Some(instance)) =
        (event(ArmKind::ContainerMinimal), in_server(ArmKind::ContainerWarm), waiting.container)
    {
        for (functions, is_single) in [(waiting.functions as f64, false), (1.0, true)] {
            let IdleCost { memory_bytes, cpu_share } = instance;
            let always =
                IdleCost { memory_bytes: memory_bytes * functions, cpu_share: cpu_share * functions };
            let platform = Platform { cold, warm, keep_alive: KeepAlive::Always, instance: none, always };
            platforms.push(NamedPlatform::of("container that always runs", platform, Some(is_single)));
        }
    }
    platforms
}

/// A platform of the hour.
struct NamedPlatform {
    name: String,
    platform: Platform,
    /// The population that it belongs to: a single function, many, or either.
    is_single: Option<bool>,
}

impl NamedPlatform {
    fn of(name: &str, platform: Platform, is_single: Option<bool>) -> Self {
        Self { name: name.to_owned(), platform, is_single }
    }

    fn row(&self, population: &Population, grid_g_per_kwh: f64) -> Vec<String> {
        let hour = self.platform.hour(population);
        let seconds = |seconds: f64| Unit::Time.precise(seconds * 1e6);
        let joules = |model| Unit::Energy.precise(hour.joules(model));
        vec![
            self.name.clone(),
            format!("{:.1}", hour.cold_starts),
            Unit::Bytes.precise(hour.memory_bytes),
            seconds(hour.calls_cpu_s + hour.idle_cpu_s),
            seconds(hour.idle_cpu_s),
            format!(
                "{} ({} to {})",
                joules(EnergyModel::TYPICAL),
                joules(EnergyModel::LOW),
                joules(EnergyModel::HIGH)
            ),
            Unit::Mass.precise(carbon_g(hour.joules(EnergyModel::TYPICAL), grid_g_per_kwh)),
        ]
    }
}
