//! The section of the report about the idle hour.

use std::fmt::{self, Display, Formatter};
use std::ops::RangeInclusive;

use nebula_telemetry::energy::EnergyModel;

use super::{block, ratio};
use crate::experiment::document::Block;
use crate::experiment::dots::{Chart, Line, Unit};
use crate::experiment::hour::{Population, SEED};
use crate::experiment::interval::Estimate;
use crate::experiment::platforms::{Measured, NamedPlatform};

/// The populations over which ratios are told.
const SEEDS: RangeInclusive<u64> = 1..=100;

/// The rate up to which a function is rarely called, calls per hour: once a minute.
pub(super) const RARE_PER_HOUR: f64 = 60.0;

/// The hour of a population, of its rarely called functions, and of one of them.
pub(crate) fn blocks(measured: Measured<'_>) -> Vec<Block> {
    let platforms = measured.platforms();
    if platforms.is_empty() {
        return Vec::new();
    }
    let functions = measured.waiting.functions;
    let all: Vec<_> = platforms.iter().filter(|named| named.is_single != Some(true)).collect();
    let single: Vec<_> = platforms.iter().filter(|named| named.is_single != Some(false)).collect();
    let population = Population::published(functions, SEED);
    let rare = population.clone().rarer_than(RARE_PER_HOUR);
    let drawn: Vec<_> = SEEDS.map(|seed| Population::published(functions, seed)).collect();
    let drawn_rare: Vec<_> = drawn.iter().map(|all| all.clone().rarer_than(RARE_PER_HOUR)).collect();
    let calls = Spread::of(drawn.iter().map(Population::calls).collect());
    let mut blocks = vec![
        Block::Heading("An hour in which most functions are rarely called".to_owned()),
        Block::Text(format!(
            "{functions} functions. Their rates are drawn from a log-normal distribution with the published shares of \
             Azure Functions in July 2019 (Shahrad et al., Serverless in the Wild, USENIX ATC 2020): 45 % are called at \
             most once per hour, 81 % at most once per minute. Calls are independent (Poisson). In the population of the \
             tables, {} functions are called at most once per hour, {} at most once per minute, and there are {:.0} \
             calls, most of them of a few functions. How many depends on the drawing: in {} other populations there are \
             {calls}. So the last column has the ratio to Nebula's energy over all of these populations: the median, and \
             between which values 90 % of them are.",
            population.at_most(1.0),
            population.at_most(RARE_PER_HOUR),
            population.calls(),
            drawn.len(),
        )),
        Block::Text(
            "The hour is computed, not run: from the measured cost of a cold start, of a warm call by the time since \
             the call before, and of what waits for calls. Each call is that of `fibonacci-recursive` with the small \
             input. Nebula's server keeps an instance ready for about three seconds after a call, and the function's \
             code for about 90 seconds; 22 to 24 seconds after the last call of any function, everything is unloaded. A \
             container that is kept alive is started and ended by its runtime, and so is one for each call. Memory is \
             averaged over the hour; a container's includes the process of its runtime. The daemon that would receive \
             requests for containers and processes isn't counted; Nebula's server is."
                .to_owned(),
        ),
    ];
    blocks.extend(chart(&all, &population, HourChart::Energy));
    blocks.extend(chart(&all, &population, HourChart::Memory));
    blocks.push(table(&all, &population, &drawn));
    blocks.push(Block::Text(format!(
        "Its {} functions that are called at most once per minute, alone: {:.0} calls. This is the hour that the \
         hypothesis is about.",
        rare.functions(),
        rare.calls()
    )));
    blocks.push(table(&all, &rare, &drawn_rare));
    blocks.push(Block::Text(
        "One function that is called once in the hour on average, and nothing else on the machine:"
            .to_owned(),
    ));
    blocks.push(table(&single, &Population::single(1.0), &[]));
    blocks
}

fn table(platforms: &[&NamedPlatform], population: &Population, drawn: &[Population]) -> Block {
    let mut heads =
        vec!["platform", "cold starts", "memory held", "processor time", "of it, idle", "energy, modelled"];
    if !drawn.is_empty() {
        heads.push("energy, of Nebula's");
    }
    let joules = |named: &NamedPlatform, population: &Population| {
        named.platform.hour(population).joules(EnergyModel::TYPICAL)
    };
    let nebula: Vec<f64> = match platforms.first() {
        Some(nebula) => drawn.iter().map(|population| joules(nebula, population)).collect(),
        None => Vec::new(),
    };
    let row = |named: &&NamedPlatform| {
        let mut row = row(named, population);
        if !drawn.is_empty() {
            let ratios = drawn.iter().zip(&nebula).map(|(drawn, nebula)| joules(named, drawn) / nebula);
            row.push(Ratios(Spread::of(ratios.collect())).to_string());
        }
        row
    };
    Block::Table {
        heads: heads.into_iter().map(str::to_owned).collect(),
        rows: platforms.iter().map(row).collect(),
    }
}

/// The median of many values, and the two between which 90 % of them are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

impl Spread {
    pub(super) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            values
                .get((values.len().saturating_sub(1) as f64 * share).round() as usize)
                .copied()
                .unwrap_or(0.0)
        };
        Self { median: at(0.5), low: at(0.05), high: at(0.95) }
    }
}

impl Display for Spread {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { median, low, high } = self;
        write!(f, "{median:.0} ({low:.0} to {high:.0})")
    }
}

/// A spread of ratios.
pub(super) struct Ratios(pub(super) Spread);

impl Display for Ratios {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Spread { median, low, high } = self.0;
        write!(f, "{} ({} to {})", ratio(median), ratio(low), ratio(high))
    }
}

/// A chart of the hour of a population.
#[derive(Clone, Copy)]
enum HourChart {
    /// Modelled, with the range of the model.
    Energy,
    Memory,
}

fn chart(platforms: &[&NamedPlatform], population: &Population, chart: HourChart) -> Option<Block> {
    let line = |named: &&NamedPlatform| {
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
    let lines = platforms.iter().map(line).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_median_and_the_middle_nine_tenths() {
        let spread = Spread::of((1..=101).rev().map(f64::from).collect());
        assert_eq!(spread, Spread { median: 51.0, low: 6.0, high: 96.0 });
        assert_eq!(spread.to_string(), "51 (6 to 96)");
        assert_eq!(Ratios(spread).to_string(), "51.0 (6.00 to 96.0)");
    }
}
