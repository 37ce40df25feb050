//! The section of the report about the idle hour.

use std::time::Duration;

use nebula_telemetry::energy::{EnergyModel, carbon_g};

use crate::experiment::arms::ArmKind;
use crate::experiment::document::Block;
use crate::experiment::dots::Unit;
use crate::experiment::hour::{Platform, Population};
use crate::experiment::platforms::Measured;

/// The hour of a population, and of one function that is rarely called.
pub(crate) fn blocks(measured: Measured<'_>, grid_g_per_kwh: f64) -> Vec<Block> {
    let platforms = platforms(measured);
    if platforms.is_empty() {
        return Vec::new();
    }
    let population = Population::published(measured.waiting.functions);
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
             container's includes the process of its runtime. Nebula's server keeps every function that was called. Carbon is the operational part of the Software \
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

/// Returns the platforms whose arms ran.
fn platforms(measured: Measured<'_>) -> Vec<NamedPlatform> {
    let mut platforms = Vec::new();
    let mut add = |name: &str, platform: Option<Platform>, is_single| {
        platforms.extend(platform.map(|platform| NamedPlatform {
            name: name.to_owned(),
            platform,
            is_single,
        }));
    };
    add("Nebula, always on", measured.nebula(), Some(false));
    add("Nebula, always on", measured.nebula_single(), Some(true));
    // A server ends after its idle time, or up to twice that. Two settings: a minute, a second.
    for (name, waits_s) in
        [("Nebula, scaled to zero after 1 min", 90.0), ("Nebula, scaled to zero after 1 s", 1.5)]
    {
        let platform = measured.nebula_scaled_to_zero(Duration::from_secs_f64(waits_s));
        add(name, platform, Some(true));
    }
    add("native process per call", measured.per_call(ArmKind::NativeProcess), None);
    for (arm, root) in [(ArmKind::ContainerMinimal, "minimal"), (ArmKind::ContainerDebian, "Debian")] {
        add(&format!("container ({root}) per call"), measured.per_call(arm), None);
        for minutes in [1, 10] {
            let platform = measured.container_kept(arm, Duration::from_secs(minutes * 60));
            add(&format!("container ({root}) kept for {minutes} min"), platform, None);
        }
    }
    for (functions, is_single) in [(measured.waiting.functions, false), (1, true)] {
        add("container that always runs", measured.container_always(functions), Some(is_single));
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
    fn row(&self, population: &Population, grid_g_per_kwh: f64) -> Vec<String> {
        let hour = self.platform.hour(population);
        let seconds = |seconds: f64| Unit::Time.precise(seconds * 1e6);
        let joules = |model| Unit::Energy.precise(hour.joules(model));
        vec![
            self.name.clone(),
            format!("{:.1}", hour.cold_starts),
            Unit::Bytes.precise(hour.memory_bytes()),
            seconds(hour.total().cpu_s),
            seconds(hour.idle_cpu_s()),
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
