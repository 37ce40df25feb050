//! One measurement: a server under load for a window of time.

use std::thread;
use std::time::{Duration, Instant};

use crate::cores::Cores;
use crate::cpu;
use crate::load::{self, Mix, Pace, Plan, Window};
use crate::server::Server;
use crate::stats::Latency;

/// The time from connecting until answers count.
const WARM_UP: Duration = Duration::from_millis(500);

/// The number of cores that other processes may use before a measurement counts as disturbed.
pub(crate) const QUIET_CORES_MAX: f64 = 0.2;

/// The parameters of a measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// The number of keep-alive connections.
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
    /// The duration of the window.
    pub(crate) time: Duration,
    /// The most repeats of a measurement that other work on the machine disturbed.
    pub(crate) repeats: u32,
}

/// The result of one measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) requests_per_s: f64,
    /// CPU time of the server per request.
    pub(crate) server_cpu_us: f64,
    /// The share of the load's cores that were busy.
    pub(crate) load_busy: f64,
    /// The number of cores that neither server nor load used.
    pub(crate) others_cores: f64,
    /// The requests that were due and not answered in time; always 0 in a closed loop.
    pub(crate) unanswered: f64,
    pub(crate) latency: Latency,
}

/// Measures once, and repeats the measurement if it was disturbed. Only the CPU use of other
/// processes decides whether to repeat, never the result.
///
/// # Errors
/// Returns an error if an answer is wrong or none arrives.
pub(crate) fn measure<'a>(
    server: &Server,
    mix: impl Into<Mix<'a>>,
    setting: Setting,
    cores: &Cores,
) -> anyhow::Result<Round> {
    let mix = mix.into();
    let mut round = measure_once(server, mix, setting, cores)?;
    for _ in 0..setting.repeats {
        if round.others_cores <= QUIET_CORES_MAX {
            break;
        }
        round = measure_once(server, mix, setting, cores)?;
    }
    Ok(round)
}

fn measure_once(server: &Server, mix: Mix<'_>, setting: Setting, cores: &Cores) -> anyhow::Result<Round> {
    let start = Instant::now() + WARM_UP;
    let window = Window { start, end: start + setting.time };
    let plan = Plan { connections: setting.connections, pace: setting.pace, window };
    let used = || -> anyhow::Result<[Duration; 3]> {
        Ok([cpu::of_tree(server.pid())?, cpu::of_self()?, cpu::of_machine()?])
    };
    let address = server.addresses[0];
    let (before, after, report) = thread::scope(|scope| {
        let load = scope.spawn(|| load::run(address, mix, plan, &cores.load));
        thread::sleep(window.start.saturating_duration_since(Instant::now()));
        let before = used();
        thread::sleep(window.end.saturating_duration_since(Instant::now()));
        let after = used();
        let report = load.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        anyhow::Ok((before?, after?, report))
    })?;
    let elapsed_s = setting.time.as_secs_f64();
    let [server_s, load_s, machine_s] = [0, 1, 2].map(|index| (after[index] - before[index]).as_secs_f64());
    let requests = report.latencies_ns.len() as f64;
    anyhow::ensure!(requests > 0.0, "the server answered no request in {elapsed_s} s");
    Ok(Round {
        requests_per_s: requests / elapsed_s,
        server_cpu_us: server_s * 1e6 / requests,
        load_busy: 1.0 - report.idle.as_secs_f64() / elapsed_s / cores.load.len() as f64,
        others_cores: (machine_s - server_s - load_s).max(0.0) / elapsed_s,
        unanswered: report.unanswered as f64,
        latency: Latency::of(report.latencies_ns),
    })
}

/// Describes the disturbance of the rounds, for the notes below a table.
pub(crate) fn disturbance<'a>(rounds: impl Iterator<Item = &'a Round>) -> Vec<String> {
    disturbance_by(rounds.map(|round| round.others_cores))
}

/// Describes the disturbance by the number of cores that other processes used in each round.
pub(crate) fn disturbance_by(others_cores: impl Iterator<Item = f64>) -> Vec<String> {
    let Some(others) = crate::stats::Figure::of(others_cores) else {
        return Vec::new();
    };
    let mut notes = vec![format!(
        "Other work during the rounds: {:.2} cores (median; at most {:.2}).",
        others.median, others.max
    )];
    if others.max > QUIET_CORES_MAX {
        notes.push("The machine was not quiet: rely on the ratios only, and with care.".to_owned());
    }
    notes
}
