//! One measurement: a server, a load, a window.

use std::thread;
use std::time::{Duration, Instant};

use crate::cores::Cores;
use crate::cpu;
use crate::load::{self, Mix, Pace, Plan, Window};
use crate::server::Server;
use crate::stats::Latency;

/// From connecting until answers count.
const WARM_UP: Duration = Duration::from_millis(500);

/// How many cores others may use before a measurement counts as disturbed.
pub(crate) const QUIET_CORES_MAX: f64 = 0.2;

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    /// Keep-alive connections.
    pub(crate) connections: usize,
    /// How the load asks.
    pub(crate) pace: Pace,
    /// How long.
    pub(crate) time: Duration,
    /// How often to measure again what other work on the machine disturbed.
    pub(crate) repeats: u32,
}

/// What one measurement came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) requests_per_s: f64,
    /// Per request.
    pub(crate) server_cpu_us: f64,
    /// Of the load's cores.
    pub(crate) load_busy: f64,
    /// Cores that were used by neither server nor load.
    pub(crate) others_cores: f64,
    /// Requests that were due and not answered while patience lasted; none in a closed loop.
    pub(crate) unanswered: f64,
    pub(crate) latency: Latency,
}

/// Measures until nothing disturbs, which is decided by what others used, never by the result.
///
/// # Errors
/// At a wrong answer, or none.
pub(crate) fn measure<'a>(
    server: &Server,
    mix: impl Into<Mix<'a>>,
    setting: Setting,
    cores: &Cores,
) -> anyhow::Result<Round> {
    let mix = mix.into();
    let mut round = once(server, mix, setting, cores)?;
    for _ in 0..setting.repeats {
        if round.others_cores <= QUIET_CORES_MAX {
            break;
        }
        round = once(server, mix, setting, cores)?;
    }
    Ok(round)
}

fn once(server: &Server, mix: Mix<'_>, setting: Setting, cores: &Cores) -> anyhow::Result<Round> {
    let start = Instant::now() + WARM_UP;
    let window = Window { start, end: start + setting.time };
    let plan = Plan { connections: setting.connections, pace: setting.pace, window };
    let used = || -> anyhow::Result<[Duration; 3]> {
        Ok([cpu::of_tree(server.pid())?, cpu::of_self()?, cpu::of_machine()?])
    };
    let address = server.addresses[0];
    let (before, after, asked) = thread::scope(|scope| {
        let load = scope.spawn(|| load::run(address, mix, plan, &cores.load));
        thread::sleep(window.start.saturating_duration_since(Instant::now()));
        let before = used();
        thread::sleep(window.end.saturating_duration_since(Instant::now()));
        let after = used();
        let asked = load.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
        anyhow::Ok((before?, after?, asked))
    })?;
    let elapsed_s = setting.time.as_secs_f64();
    let [server_s, load_s, machine_s] = [0, 1, 2].map(|index| (after[index] - before[index]).as_secs_f64());
    let requests = asked.latencies_ns.len() as f64;
    anyhow::ensure!(requests > 0.0, "not one answer in {elapsed_s} s");
    Ok(Round {
        requests_per_s: requests / elapsed_s,
        server_cpu_us: server_s * 1e6 / requests,
        load_busy: 1.0 - asked.idle.as_secs_f64() / elapsed_s / cores.load.len() as f64,
        others_cores: (machine_s - server_s - load_s).max(0.0) / elapsed_s,
        unanswered: asked.unanswered as f64,
        latency: Latency::of(asked.latencies_ns),
    })
}

/// What disturbed the rounds, for the notes below a table.
pub(crate) fn disturbance<'a>(rounds: impl Iterator<Item = &'a Round>) -> Vec<String> {
    disturbance_by(rounds.map(|round| round.others_cores))
}

/// The same, of the cores that others used in each round.
pub(crate) fn disturbance_by(others_cores: impl Iterator<Item = f64>) -> Vec<String> {
    let Some(others) = crate::stats::Figure::of(others_cores) else {
        return Vec::new();
    };
    let mut notes = vec![format!(
        "Other work during the rounds: {:.2} cores (median; at most {:.2}).",
        others.median, others.max
    )];
    if others.max > QUIET_CORES_MAX {
        notes.push("The machine was not quiet: take the ratios, and those with care.".to_owned());
    }
    notes
}
