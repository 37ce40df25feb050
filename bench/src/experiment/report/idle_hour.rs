//! The section of the report about the idle hour.

use nebula_telemetry::energy::EnergyModel;

use super::block;
use crate::experiment::document::Block;
use crate::experiment::dots::{Chart, Line, Unit};
use crate::experiment::hour::Population;
use crate::experiment::interval::Estimate;
use crate::experiment::platforms::{Measured, NamedPlatform};

/// The hour of a population, and of one function that is rarely called.
pub(crate) fn blocks(measured: Measured<'_>) -> Vec<Block> {
    let platforms = measured.platforms();
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
            ]
            .map(str::to_owned)
            .to_vec(),
            rows: selected.map(|named| row(named, population)).collect(),
        }
    };
    let single = Population::single(1.0);
    let mut blocks = vec![
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
        Block::Text(
            "The hour is computed, not run: from the measured cost of a cold start, of a warm call by the time since \
             the call before, and of what waits for calls. Each call is that of `fibonacci-recursive` with the small \
             input. Nebula's server keeps an instance ready for about three seconds after a call, and the \
             function's code for about 90 seconds; 22 seconds after the last call of all it has unloaded everything. A container that is kept alive is started and ended by its runtime, and so is one \
             for each call. Memory is averaged over the hour; a container's includes the process of its runtime."
                .to_owned(),
        ),
    ];
    blocks.extend(chart(&platforms, &population, HourChart::Energy));
    blocks.extend(chart(&platforms, &population, HourChart::Memory));
    blocks.extend([
        table(&population, false),
        Block::Text(
            "One function that is called once in the hour, and nothing else on the machine:".to_owned(),
        ),
        table(&single, true),
    ]);
    blocks
}

/// A chart of the hour of a population.
#[derive(Clone, Copy)]
enum HourChart {
    /// Modelled, with the range of the model.
    Energy,
    Memory,
}

fn chart(platforms: &[NamedPlatform], population: &Population, chart: HourChart) -> Option<Block> {
    let line = |named: &NamedPlatform| {
        let hour = named.platform.hour(population);
        let dot = match chart {
            HourChart::Energy => Estimate {
                median: hour.joules(EnergyModel::TYPICAL),
                low: hour.joules(EnergyModel::LOW),
                high: hour.joules(EnergyModel::HIGH),
                samples: 1,
            },
            HourChart::Memory => {
                let bytes = hour.memory_bytes();
                Estimate { median: bytes, low: bytes, high: bytes, samples: 1 }
            }
        };
        Line { name: named.name.clone(), kind: named.kind, dots: [Some(dot), None, None] }
    };
    let (file, axis, unit) = match chart {
        HourChart::Energy => ("charts/hour-energy.svg", "energy of the hour, modelled", Unit::Energy),
        HourChart::Memory => ("charts/hour-memory.svg", "memory held, averaged over the hour", Unit::Bytes),
    };
    let lines = platforms.iter().filter(|named| named.is_single != Some(true)).map(line).collect();
    let title = format!("An hour of {} functions: {axis}", population.functions());
    block(file, Chart { title, axis, unit, legend: Vec::new(), lines })
}

fn row(NamedPlatform { name, platform, .. }: &NamedPlatform, population: &Population) -> Vec<String> {
    let hour = platform.hour(population);
    let seconds = |seconds: f64| Unit::Time.precise(seconds * 1e6);
    let joules = |model| Unit::Energy.precise(hour.joules(model));
    vec![
        name.clone(),
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
    ]
}
