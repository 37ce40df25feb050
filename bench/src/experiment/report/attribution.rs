//! The section of the report that attributes the energy of the hour to functions and calls, and
//! scores its carbon.

use nebula_telemetry::carbon::{Carbon, CarbonModel, Server};
use nebula_telemetry::energy::EnergyModel;

use crate::experiment::arms::ArmKind;
use crate::experiment::document::Block;
use crate::experiment::dots::Unit;
use crate::experiment::hour::{Platform, Population, Resources, SEED, Usage};
use crate::experiment::platforms::{Measured, NamedPlatform};

/// A call of an arm.
pub(super) struct ArmCall {
    pub(super) arm: ArmKind,
    pub(super) resources: Resources,
}

/// The energy and the carbon of a population's hour on all platforms, and of a call of each arm.
pub(super) fn blocks(calls: &[ArmCall], measured: Measured<'_>, carbon: CarbonModel) -> Vec<Block> {
    let platforms: Vec<_> =
        measured.platforms().into_iter().filter(|named| named.is_single != Some(true)).collect();
    if platforms.is_empty() {
        return Vec::new();
    }
    let population = Population::published(measured.waiting.functions, SEED);
    let hour = |platform: &Platform| platform.hour(&population);
    let heads = |heads: &[&str]| heads.iter().map(|head| (*head).to_owned()).collect();
    vec![
        Block::Heading("Whose energy and carbon it is".to_owned()),
        Block::Text(format!(
            "The energy of the hour of {} functions, attributed as FaasMeter does it (Rehman, Fuerst and Sharma, \
             SoCC 2024, arXiv 2408.06130): the marginal energy of a function is what is used because of it, by its \
             calls and by its instances that wait for the next call; the platform's own energy is used whether \
             functions are called or not, and every function has an equal part of it. The daemon of containers \
             isn't counted, so that they have no such part. Modelled.",
            population.functions()
        )),
        Block::Table {
            heads: heads(&[
                "platform",
                "calls",
                "instances that wait",
                "the platform's own",
                "per call, marginal",
                "per call, with the platform's own",
                "per function, with the platform's own",
            ]),
            rows: platforms
                .iter()
                .map(|named| energy_row(&named.name, &hour(&named.platform), population.functions()))
                .collect(),
        },
        Block::Text(score(carbon)),
        Block::Table {
            heads: heads(&["platform", "operational, E × I", "embodied, M", "SCI per call", "SCI of the hour"]),
            rows: platforms
                .iter()
                .map(|NamedPlatform { name, platform, .. }| {
                    let usage = hour(platform);
                    let found = of(usage.total(), carbon);
                    let mut row = carbon_cells(name, found);
                    row.extend([found.per(usage.calls), found.per(1.0)].map(|g| Unit::Mass.precise(g)));
                    row
                })
                .collect(),
        },
        Block::Text(
            "The same for one call of `fibonacci-recursive` with the small input, by arm and marginal: what waits \
             for calls isn't in it."
                .to_owned(),
        ),
        Block::Table {
            heads: heads(&["arm", "operational, E × I", "embodied, M", "SCI per call"]),
            rows: calls
                .iter()
                .map(|ArmCall { arm, resources }| {
                    let found = of(*resources, carbon);
                    let mut row = carbon_cells(&format!("`{}`", arm.name()), found);
                    row.push(Unit::Mass.precise(found.per(1.0)));
                    row
                })
                .collect(),
        },
    ]
}

/// Explains the score and its parameters.
fn score(CarbonModel { energy: _, grid_g_per_kwh, server }: CarbonModel) -> String {
    let Server { embodied_kg, lifetime, hardware_threads, memory_gb } = server;
    let years = lifetime.as_secs_f64() / (365.0 * 24.0 * 3600.0);
    format!(
        "The Software Carbon Intensity (Green Software Foundation, ISO/IEC 21031:2024) is (E × I + M) / R, in CO2 \
         equivalents: the energy E times the intensity of the grid I, {grid_g_per_kwh} g per kWh, plus M, the part \
         of making the server. That was {embodied_kg:.0} kg, for {years:.0} years, {hardware_threads} hardware \
         threads and {memory_gb} GB (coefficients of Cloud Carbon Footprint for `m5.metal`; `--embodied-kg 0` leaves \
         it out); a platform has the share of the threads or of the memory that it uses, whichever is larger. R is a \
         call, and the hour."
    )
}

fn of(resources: Resources, carbon: CarbonModel) -> Carbon {
    carbon.carbon(resources.cpu_s, resources.byte_s / 1e9)
}

fn carbon_cells(name: &str, Carbon { operational_g, embodied_g }: Carbon) -> Vec<String> {
    vec![name.to_owned(), Unit::Mass.precise(operational_g), Unit::Mass.precise(embodied_g)]
}

fn energy_row(name: &str, usage: &Usage, functions: usize) -> Vec<String> {
    let joules = |resources: Resources| resources.joules(EnergyModel::TYPICAL);
    let marginal = joules(usage.running + usage.waiting);
    let total = joules(usage.total());
    let cells = [
        joules(usage.running),
        joules(usage.waiting),
        joules(usage.always),
        marginal / usage.calls,
        total / usage.calls,
        total / functions.max(1) as f64,
    ];
    [name.to_owned()].into_iter().chain(cells.map(|joules| Unit::Energy.precise(joules))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::hour::{CostAfter, EventCost, IdleCost, KeepAlive, Ready, Serving, WarmCost};

    /// Of 3,600 calls: 1 s of CPU time each, and a server of 1 GB that is always there.
    #[test]
    fn the_parts_of_the_energy_add_up() {
        let platform = Platform {
            cold: EventCost { cpu_s: 1.0, byte_s: 0.0 },
            warm: WarmCost { by_gap: vec![CostAfter { gap_s: 1.0, cpu_s: 1.0 }] },
            serving: Serving::OneFunction,
            keep_alive: KeepAlive::Started,
            instance: IdleCost::default(),
            ready: Ready::default(),
            always: IdleCost { memory_bytes: 1e9, cpu_share: 0.0 },
        };
        let usage = platform.hour(&Population::single(3600.0));
        let row = energy_row("it", &usage, 10);
        // 4.375 W for 3,600 s, and 0.392 W for 3,600 s.
        assert_eq!(row, ["it", "15.8 kJ", "0", "1.41 kJ", "4.38 J", "4.77 J", "1.72 kJ"]);
    }

    #[test]
    fn the_score_states_its_parameters() {
        let carbon =
            CarbonModel { energy: EnergyModel::TYPICAL, grid_g_per_kwh: 473.0, server: Server::TYPICAL };
        for part in ["473 g per kWh", "1611 kg", "for 4 years", "96 hardware threads", "384 GB"] {
            assert!(score(carbon).contains(part), "{part}: {}", score(carbon));
        }
        let found = of(Resources { cpu_s: 3600.0, byte_s: 0.0 }, carbon);
        assert_eq!(carbon_cells("it", found), ["it", "2.07 g", "479 mg"]);
    }
}
