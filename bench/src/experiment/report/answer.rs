//! The top of the report: the question, and the answer that the figures give.

use nebula_telemetry::energy::EnergyModel;

use super::idle_hour::RARE_PER_HOUR;
use super::{Findings, TOTAL, ratio};
use crate::experiment::arms::ArmKind;
use crate::experiment::document::Block;
use crate::experiment::dots::Unit;
use crate::experiment::hour::{Population, SEED};
use crate::experiment::interval::Estimate;
use crate::experiment::platforms::Measured;
use crate::experiment::workload::{Function, Size};

/// States the question, and answers it as far as the arms of the run can.
pub(super) fn blocks(findings: &Findings, measured: Measured<'_>) -> Vec<Block> {
    let mut blocks = vec![
        Block::Heading("The question".to_owned()),
        Block::Text(
            "The hypothesis is that a platform of pure functions, built on WebAssembly, can scale to near-zero resource \
             usage. So: what does a function cost that nobody calls, what does its next call cost, and what does a \
             population of such functions cost in an hour, in time, processor time, memory and energy? Containers and \
             processes run beside it. Every arm runs the same Rust source on the same inputs, and their answers are \
             compared."
                .to_owned(),
        ),
    ];
    if findings.is_quick {
        let text = "This is a quick run: it only checks that everything works. Don't quote its figures.";
        blocks.push(Block::Text(text.to_owned()));
    }
    if !findings.conditions.optimised {
        let text = "The programs are not optimised: the figures are meaningless, and only show that everything works.";
        blocks.push(Block::Text(text.to_owned()));
    }
    let mut answers: Vec<String> = [uncalled(findings), first_call(findings)].into_iter().flatten().collect();
    answers.extend(hours(measured));
    answers.extend(every_call(findings));
    answers.extend(computing(findings));
    if !answers.is_empty() {
        blocks.push(Block::Heading("The answer".to_owned()));
        blocks.push(Block::Items(answers));
    }
    blocks
}

/// The cost of a function that nobody calls.
fn uncalled(findings: &Findings) -> Option<String> {
    let nebula = &findings.waiting.nebula;
    let on_disk = findings.on_disk.iter().find(|found| found.arm == ArmKind::NebulaCold)?;
    let container = findings.waiting.container.map_or(String::new(), |container| {
        format!(" A container that waits holds {}.", Unit::Bytes.precise(container.memory_bytes))
    });
    Some(format!(
        "A function that nobody calls costs {} on disk. A server with {} such functions holds {} of memory and used \
         {} of processor time per minute; scaled to zero, there is no process.{container}",
        Unit::Bytes.precise(on_disk.size.function_bytes as f64),
        findings.waiting.functions,
        Unit::Bytes.precise(nebula.uncalled.memory_bytes),
        Unit::Time.precise(nebula.uncalled.cpu_share * 60.0 * 1e6),
    ))
}

/// The cost of its next call.
fn first_call(findings: &Findings) -> Option<String> {
    let cold = small(findings, ArmKind::NebulaCold)?;
    let time = |us: f64| Unit::Time.precise(us);
    let mut text = format!("Its next call is answered after {} while other functions are called", time(cold));
    let rested = findings.waiting.nebula_single.calls_after_rest.iter().map(|call| call.time_s * 1e6);
    if let Some(rested) = Estimate::of(rested) {
        text += &format!("; after {} by a server that has rested", time(rested.median));
    }
    if let Some(zero) = small(findings, ArmKind::NebulaScaledToZero) {
        text += &format!("; after {} if no process runs", time(zero));
    }
    let others = [
        (ArmKind::ContainerMinimal, "a new container by runc alone"),
        (ArmKind::ContainerEngine, "a new container by Podman"),
        (ArmKind::WasmtimeRun, "a new process of `wasmtime run`"),
        (ArmKind::NativeProcess, "a new native process"),
    ];
    for (arm, name) in others {
        if let Some(us) = small(findings, arm) {
            text += &format!("; by {name} after {} ({} times the first)", time(us), ratio(us / cold));
        }
    }
    Some(format!("{text}."))
}

/// The cost of an hour, of all functions and of the rarely called ones alone.
fn hours(measured: Measured<'_>) -> Vec<String> {
    let population = Population::published(measured.waiting.functions, SEED);
    let rare = population.clone().rarer_than(RARE_PER_HOUR);
    let sentence = |population: &Population, what: &str| {
        let costs: Vec<_> = measured
            .platforms()
            .iter()
            // The roots differ little.
            .filter(|named| named.is_single != Some(true) && !named.name.contains("Debian"))
            .map(|named| {
                let usage = named.platform.hour(population);
                format!(
                    "{}: {}, {}, {}",
                    named.name,
                    Unit::Energy.precise(usage.joules(EnergyModel::TYPICAL)),
                    Unit::Time.precise(usage.total().cpu_s * 1e6),
                    Unit::Bytes.precise(usage.memory_bytes())
                )
            })
            .collect();
        (!costs.is_empty()).then(|| {
            format!(
                "An hour of {} {what} costs, in modelled energy, processor time and memory: {}.",
                population.functions(),
                costs.join("; ")
            )
        })
    };
    let rare = sentence(&rare, "functions that are called at most once per minute");
    let all = sentence(&population, "functions, of which a few make nearly all calls,");
    [rare, all].into_iter().flatten().collect()
}

/// The cost of a platform that is warm already.
fn every_call(findings: &Findings) -> Option<String> {
    let fresh = small(findings, ArmKind::NebulaFresh)?;
    let others = [
        (ArmKind::ContainerWarm, "a container that runs already"),
        (ArmKind::WasmtimeServe, "`wasmtime serve`"),
        (ArmKind::NativeCall, "a native process that runs already, over a pipe"),
    ];
    let others: Vec<_> = others
        .into_iter()
        .filter_map(|(arm, name)| {
            let time = small(findings, arm)?;
            Some(format!("{name} takes {} ({} times that)", Unit::Time.precise(time), ratio(time / fresh)))
        })
        .collect();
    (!others.is_empty()).then(|| {
        format!(
            "A function that is called all the time gets a fresh instance for each call and answers after {}: {}.",
            Unit::Time.precise(fresh),
            others.join("; ")
        )
    })
}

/// The cost of computing, where it outweighs the start.
fn computing(findings: &Findings) -> Option<String> {
    let ratio_of = |function: Function| {
        let median = |arm| Some(findings.estimate(arm, function, Size::Large, TOTAL)?.median);
        Some((function, median(ArmKind::NebulaFresh)? / median(ArmKind::NativeCall)?))
    };
    let mut ratios: Vec<_> = Function::ALL.into_iter().filter_map(ratio_of).collect();
    ratios.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    let ((least_function, least), (most_function, most)) = (ratios.first()?, ratios.last()?);
    Some(format!(
        "A call that computes for long takes {} (`{}`) to {} (`{}`) times as long in Nebula as natively, with the \
         large inputs: there the start doesn't matter, and native code, in a container or not, needs less energy.",
        ratio(*least),
        least_function.name(),
        ratio(*most),
        most_function.name()
    ))
}

/// Returns the time of a call that computes little.
fn small(findings: &Findings, arm: ArmKind) -> Option<f64> {
    Some(findings.estimate(arm, Function::FibonacciRecursive, Size::Small, TOTAL)?.median)
}
