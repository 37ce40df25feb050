//! The idle hour: a population of functions of which most are rarely called, for an hour, computed
//! from measured events.
//!
//! ```text
//! calls (Poisson, rates of a published trace) x measured cost of a cold start, of a warm call by the
//! time since the call before, and of what waits -> memory held, CPU time, cold starts, energy
//! ```
//!
//! With the rate `r` of a function and a keep-alive of `t`, a call is a cold start with probability
//! `exp(-r t)`, and an instance exists for a share `1 - exp(-r t)` of the time. Without an end of
//! the keep-alive, the first call in a time `T` is a cold start, and the instance exists from then
//! on: for a share `1 - (1 - exp(-r T)) / (r T)`.
//!
//! `replay` runs calls at these rates in less time, to check the formulas.

use std::ops::Add;
use std::time::Duration;

use nebula_telemetry::energy::EnergyModel;
use serde::{Deserialize, Serialize};

use super::random::Random;

/// The length of the hour.
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

const HOUR_S: f64 = 3600.0;

/// The calls per hour of the median function, and the standard deviation of the logarithm (base 10)
/// of the rate.
///
/// They are those of the log-normal distribution of which 45 % are at most once per hour and 81 % at
/// most once per minute: the applications of Azure Functions in July 2019 (Shahrad et al.,
/// "Serverless in the Wild", USENIX ATC 2020). The standard normal distribution has these shares at
/// -0.1257 and 0.8779.
const LOG10_MEDIAN_PER_HOUR: f64 = 0.2227;
const LOG10_DEVIATION: f64 = 1.7718;

/// The seed of the population whose hour is shown and replayed.
pub(crate) const SEED: u64 = 2019;

/// The functions of a tenant or a node, by their average rates.
#[derive(Clone, Debug)]
pub(crate) struct Population {
    /// Calls per second of each function.
    rates: Vec<f64>,
}

impl Population {
    /// Draws functions from the published distribution.
    pub(crate) fn published(functions: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut rate = || {
            // Box and Muller: a standard normal number. `1 - unit` is never 0.
            let radius = (-2.0 * (1.0 - random.unit()).ln()).sqrt();
            let normal = radius * (std::f64::consts::TAU * random.unit()).cos();
            10_f64.powf(LOG10_MEDIAN_PER_HOUR + LOG10_DEVIATION * normal) / HOUR_S
        };
        Self { rates: (0..functions).map(|_| rate()).collect() }
    }

    /// One function that is called this often.
    pub(crate) fn single(calls_per_hour: f64) -> Self {
        Self { rates: vec![calls_per_hour / HOUR_S] }
    }

    /// Leaves out the functions that are called more often than this.
    pub(crate) fn rarer_than(self, calls_per_hour: f64) -> Self {
        Self { rates: self.rates.into_iter().filter(|rate| rate * HOUR_S <= calls_per_hour).collect() }
    }

    /// Lowers the rate of functions that are called more often than this.
    pub(crate) fn at_most_called(self, calls_per_hour: f64) -> Self {
        Self { rates: self.rates.into_iter().map(|rate| rate.min(calls_per_hour / HOUR_S)).collect() }
    }

    /// Makes the same calls in a fraction of the time.
    pub(crate) fn compressed(self, factor: f64) -> Self {
        Self { rates: self.rates.into_iter().map(|rate| rate * factor).collect() }
    }

    /// Returns the calls per second of each function.
    pub(crate) fn rates(&self) -> &[f64] {
        &self.rates
    }

    /// Returns the calls in the hour.
    pub(crate) fn calls(&self) -> f64 {
        self.rates.iter().sum::<f64>() * HOUR_S
    }

    /// Returns the number of functions that are called at most this often.
    pub(crate) fn at_most(&self, calls_per_hour: f64) -> usize {
        self.rates.iter().filter(|rate| **rate * HOUR_S <= calls_per_hour).count()
    }

    /// Returns the number of functions.
    pub(crate) fn functions(&self) -> usize {
        self.rates.len()
    }
}

/// The measured cost of one event, such as a cold start.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct EventCost {
    pub(crate) cpu_s: f64,
    /// The memory that is held because of the event, beyond that of what waits, times the time for
    /// which it is held.
    pub(crate) byte_s: f64,
}

/// The measured CPU time of a warm call, by the time since the call before: a server that slept has
/// to wake up, and finds less of its memory in the processor's caches.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct WarmCost {
    /// In the order of the gaps.
    pub(crate) by_gap: Vec<CostAfter>,
}

/// The CPU time of a call that comes a time after the call before.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct CostAfter {
    pub(crate) gap_s: f64,
    pub(crate) cpu_s: f64,
}

/// The points at which an average over gaps is computed.
const QUANTILES: usize = 32;

impl WarmCost {
    /// Returns the average CPU time of calls at random moments with this rate, of which each comes
    /// at most `gap_s_max` after the one before.
    fn average(&self, rate: f64, gap_s_max: f64) -> f64 {
        // The share of gaps that are shorter than the limit. `exp_m1` is exact for small numbers.
        let share = -(-rate * gap_s_max).exp_m1();
        if share <= 0.0 {
            return 0.0;
        }
        let gap_s = |index| -(-share * (index as f64 + 0.5) / QUANTILES as f64).ln_1p() / rate;
        (0..QUANTILES).map(|index| self.after(gap_s(index))).sum::<f64>() / QUANTILES as f64
    }

    /// Interpolates between measured gaps, by the logarithm of the gap. Beyond them it is that of the
    /// nearest one.
    fn after(&self, gap_s: f64) -> f64 {
        let above = self.by_gap.partition_point(|cost| cost.gap_s < gap_s);
        match (above.checked_sub(1).and_then(|below| self.by_gap.get(below)), self.by_gap.get(above)) {
            (Some(below), Some(above)) => {
                let share = (gap_s / below.gap_s).ln() / (above.gap_s / below.gap_s).ln();
                below.cpu_s + share * (above.cpu_s - below.cpu_s)
            }
            (Some(nearest), None) | (None, Some(nearest)) => nearest.cpu_s,
            (None, None) => 0.0,
        }
    }
}

/// The calls that a warm call is measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Serving {
    /// One server has all functions: a call follows the last call of any of them.
    AllFunctions,
    /// Each function has its own server, or a process for each call.
    OneFunction,
}

/// The measured cost of something that waits for calls, such as an instance or a server.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct IdleCost {
    pub(crate) memory_bytes: f64,
    /// CPU time in a second without calls, in seconds.
    pub(crate) cpu_share: f64,
}

/// A platform in the terms of the model.
#[derive(Clone, Debug)]
pub(crate) struct Platform {
    pub(crate) cold: EventCost,
    pub(crate) warm: WarmCost,
    pub(crate) serving: Serving,
    /// The time that an instance waits after a call. A call that finds none is a cold start.
    pub(crate) keep_alive: KeepAlive,
    /// An instance that waits, for each function.
    pub(crate) instance: IdleCost,
    /// The memory that serves the next call sooner, for a shorter time.
    pub(crate) ready: Ready,
    /// The part that runs for the whole hour, whether functions are called or not.
    pub(crate) always: IdleCost,
}

/// Memory that a platform holds for a function for a short time after a call, to answer the next one
/// sooner. Without it a call isn't a cold start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ready {
    pub(crate) time: Duration,
    pub(crate) memory_bytes: f64,
}

/// The state in which a stretch of time begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// Calls have gone on for long.
    Steady,
    /// No instance exists.
    Empty,
}

/// The time for which a function stays warm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum KeepAlive {
    For(Duration),
    /// It is warm before the first call, and until the end.
    Started,
}

/// CPU time, and memory times the time for which it is held.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Resources {
    pub(crate) cpu_s: f64,
    pub(crate) byte_s: f64,
}

impl Resources {
    /// Returns the modelled energy in joules.
    pub(crate) fn joules(self, model: EnergyModel) -> f64 {
        model.joules_of(self.cpu_s, self.byte_s / 1e9)
    }
}

impl Add for Resources {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { cpu_s: self.cpu_s + other.cpu_s, byte_s: self.byte_s + other.byte_s }
    }
}

/// The computed use of a platform by a population, such as in an hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usage {
    length_s: f64,
    pub(crate) calls: f64,
    pub(crate) cold_starts: f64,
    /// Calls, cold starts included.
    pub(crate) running: Resources,
    /// Instances that wait for the next call.
    pub(crate) waiting: Resources,
    /// The part that runs for the whole time, whether functions are called or not.
    pub(crate) always: Resources,
}

impl Platform {
    /// Computes an hour of a population whose calls have gone on for long.
    pub(crate) fn hour(&self, population: &Population) -> Usage {
        self.usage(population, HOUR, Beginning::Steady)
    }

    /// Computes a stretch of time.
    pub(crate) fn usage(&self, population: &Population, length: Duration, beginning: Beginning) -> Usage {
        let Self { cold, warm, serving, keep_alive, instance, ready, always } = self;
        let length_s = length.as_secs_f64();
        let warm_of_all_s = warm.average(population.rates.iter().sum(), length_s);
        let resources = |cost: &IdleCost, time_s: f64| Resources {
            cpu_s: cost.cpu_share * time_s,
            byte_s: cost.memory_bytes * time_s,
        };
        let mut usage = Usage {
            length_s,
            calls: 0.0,
            cold_starts: 0.0,
            running: Resources::default(),
            waiting: Resources::default(),
            always: resources(always, length_s),
        };
        for rate in &population.rates {
            let calls = rate * length_s;
            let (cold_starts, waiting, gap_s_max) = match keep_alive {
                KeepAlive::For(time) if beginning == Beginning::Steady || *time < length => {
                    let time_s = time.as_secs_f64();
                    let is_cold = (-rate * time_s).exp();
                    let (cold_starts, waiting) = (calls * is_cold, 1.0 - is_cold);
                    match beginning {
                        Beginning::Steady => (cold_starts, waiting, time_s),
                        Beginning::Empty => {
                            // Nothing waits before the first call.
                            let missing_s =
                                if *rate > 0.0 { time_s * waiting - time_s + waiting / rate } else { 0.0 };
                            let cold_starts = waiting + rate * (length_s - time_s) * is_cold;
                            (cold_starts, waiting - missing_s / length_s, time_s)
                        }
                    }
                }
                // Longer than the stretch: the first call is the only cold start.
                KeepAlive::For(_) => {
                    // The probability of a call. `exp_m1` is exact for small numbers.
                    let is_called = -(-calls).exp_m1();
                    (is_called, if calls > 0.0 { 1.0 - is_called / calls } else { 0.0 }, length_s)
                }
                KeepAlive::Started => (0.0, 1.0, length_s),
            };
            let warm_cpu_s = match serving {
                Serving::AllFunctions => warm_of_all_s,
                Serving::OneFunction => warm.average(*rate, gap_s_max),
            };
            let running = Resources {
                cpu_s: cold_starts * cold.cpu_s + (calls - cold_starts) * warm_cpu_s,
                byte_s: cold_starts * cold.byte_s,
            };
            let is_ready = -(-rate * ready.time.as_secs_f64()).exp_m1();
            let ready = Resources { cpu_s: 0.0, byte_s: ready.memory_bytes * is_ready * length_s };
            usage.calls += calls;
            usage.cold_starts += cold_starts;
            usage.running = usage.running + running;
            usage.waiting = usage.waiting + resources(instance, waiting * length_s) + ready;
        }
        usage
    }
}

impl Usage {
    pub(crate) fn total(&self) -> Resources {
        self.running + self.waiting + self.always
    }

    /// Returns the memory held, averaged over the time.
    pub(crate) fn memory_bytes(&self) -> f64 {
        self.total().byte_s / self.length_s
    }

    /// Returns the CPU time that passes while nothing runs.
    pub(crate) fn idle_cpu_s(&self) -> f64 {
        (self.waiting + self.always).cpu_s
    }

    /// Returns the modelled energy in joules.
    pub(crate) fn joules(&self, model: EnergyModel) -> f64 {
        self.total().joules(model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: KeepAlive = KeepAlive::For(Duration::from_secs(86_400));

    fn platform(keep_alive: KeepAlive) -> Platform {
        Platform {
            cold: EventCost { cpu_s: 0.05, byte_s: 0.0 },
            warm: WarmCost { by_gap: vec![CostAfter { gap_s: 0.001, cpu_s: 0.001 }] },
            serving: Serving::OneFunction,
            keep_alive,
            instance: IdleCost { memory_bytes: 1e7, cpu_share: 0.0 },
            ready: Ready::default(),
            always: IdleCost::default(),
        }
    }

    #[test]
    fn warm_calls_cost_more_after_a_longer_gap() {
        let cost = |gap_s, cpu_s| CostAfter { gap_s, cpu_s };
        let warm = WarmCost { by_gap: vec![cost(0.001, 1.0), cost(0.1, 3.0)] };
        assert_eq!([0.0, 0.001, 0.1, 9.0].map(|gap_s| warm.after(gap_s)), [1.0, 1.0, 3.0, 3.0]);
        assert!((warm.after(0.01) - 2.0).abs() < 1e-9, "half way by the logarithm");
        // Nearly all gaps are shorter or longer than what was measured, or they aren't allowed.
        assert!((warm.average(1e6, f64::INFINITY) - 1.0).abs() < 1e-3);
        assert!((warm.average(1e-6, f64::INFINITY) - 3.0).abs() < 1e-3);
        assert!((warm.average(1e-6, 0.001) - 1.0).abs() < 1e-3);
        assert_eq!(warm.average(1.0, 0.0), 0.0);
        assert_eq!(WarmCost::default().average(1.0, 1.0), 0.0);
    }

    /// A call every 100 s of each of 100 functions is a call per second of their server.
    #[test]
    fn a_server_of_all_functions_is_called_more_often() {
        let cost = |gap_s, cpu_s| CostAfter { gap_s, cpu_s };
        let warm = WarmCost { by_gap: vec![cost(1e-3, 0.001), cost(100.0, 0.1)] };
        let hundred = Population { rates: vec![0.01; 100] };
        let each = Platform { warm, ..platform(DAY) };
        let all = Platform { serving: Serving::AllFunctions, ..each.clone() };
        let cpu_s = |platform: &Platform| platform.hour(&hundred).running.cpu_s;
        assert!(cpu_s(&all) < cpu_s(&each) * 0.7, "{} {}", cpu_s(&all), cpu_s(&each));
    }

    #[test]
    fn what_is_ready_for_a_short_time_holds_memory() {
        let ready = Ready { time: Duration::from_secs(3), memory_bytes: 1e6 };
        let once_a_second = Platform { ready, instance: IdleCost::default(), ..platform(DAY) }
            .hour(&Population::single(3600.0));
        let expected = 1e6 * (1.0 - (-3.0_f64).exp());
        assert!((once_a_second.memory_bytes() - expected).abs() < 1.0, "{once_a_second:?}");
    }

    #[test]
    fn the_population_has_the_published_shares() {
        let population = Population::published(10_000, SEED);
        let share = |per_hour| population.at_most(per_hour) as f64 / 10_000.0;
        assert!((share(1.0) - 0.45).abs() < 0.02, "{}", share(1.0));
        assert!((share(60.0) - 0.81).abs() < 0.02, "{}", share(60.0));
    }

    #[test]
    fn without_keep_alive_every_call_is_a_cold_start() {
        let hour = platform(KeepAlive::For(Duration::ZERO)).hour(&Population::single(120.0));
        assert!((hour.cold_starts - 120.0).abs() < 1e-9 && hour.memory_bytes() < 1e-9, "{hour:?}");
        assert!((hour.running.cpu_s - 6.0).abs() < 1e-9, "{hour:?}");
    }

    #[test]
    fn what_stays_warm_has_one_cold_start() {
        let of_single =
            |calls_per_hour| platform(DAY).usage(&Population::single(calls_per_hour), HOUR, Beginning::Empty);
        let hour = of_single(120.0);
        assert!((hour.cold_starts - 1.0).abs() < 1e-9, "{hour:?}");
        // The first call is expected after 30 s.
        assert!((hour.memory_bytes() - 1e7 * (1.0 - 30.0 / HOUR_S)).abs() < 1.0, "{hour:?}");
        let never = of_single(0.0);
        assert!(never.cold_starts == 0.0 && never.memory_bytes() == 0.0, "{never:?}");
        let started = platform(KeepAlive::Started).hour(&Population::single(0.0));
        assert!(started.cold_starts == 0.0 && (started.memory_bytes() - 1e7).abs() < 1.0, "{started:?}");
    }

    /// A shorter time with rates and keep-alive scaled has the same calls and cold starts.
    #[test]
    fn compression_keeps_calls_and_cold_starts() {
        for (keep_alive_s, beginning) in [0.0, 60.0, 600.0, 86_400.0]
            .into_iter()
            .flat_map(|s| [Beginning::Steady, Beginning::Empty].map(|b| (s, b)))
        {
            let keep = |seconds| KeepAlive::For(Duration::from_secs_f64(seconds));
            let population = Population::published(100, SEED).at_most_called(60.0);
            let hour = platform(keep(keep_alive_s)).usage(&population, HOUR, beginning);
            let minute = platform(keep(keep_alive_s / 60.0)).usage(
                &population.compressed(60.0),
                Duration::from_secs(60),
                beginning,
            );
            assert!((hour.calls - minute.calls).abs() < 1e-6, "{hour:?} {minute:?}");
            assert!((hour.cold_starts - minute.cold_starts).abs() < 1e-6, "{hour:?} {minute:?}");
            assert!((hour.memory_bytes() - minute.memory_bytes()).abs() < 1e-3, "{hour:?} {minute:?}");
        }
    }

    /// Draws the calls of an hour, and counts what the formulas compute.
    #[test]
    fn the_formulas_agree_with_a_simulation() {
        let (keep_alive_s, rate) = (600.0, 12.0 / HOUR_S);
        let computed = platform(KeepAlive::For(Duration::from_secs(600))).hour(&Population::single(12.0));
        let (mut random, hours) = (Random::new(5), 20_000.0);
        let (mut now, mut cold_starts, mut waited_s) = (0.0, 0.0, 0.0);
        while now < hours * HOUR_S {
            let gap_s = -(1.0 - random.unit()).ln() / rate;
            cold_starts += f64::from(u8::from(gap_s > keep_alive_s));
            waited_s += gap_s.min(keep_alive_s);
            now += gap_s;
        }
        let (simulated, memory) = (cold_starts / hours, waited_s / now * 1e7);
        let held = computed.memory_bytes();
        assert!(
            (computed.cold_starts / simulated - 1.0).abs() < 0.02,
            "{} {simulated}",
            computed.cold_starts
        );
        assert!((held / memory - 1.0).abs() < 0.02, "{held} {memory}");
    }

    /// Draws the calls of many short stretches that begin empty.
    #[test]
    fn the_formulas_of_an_empty_beginning_agree_with_a_simulation() {
        let (length_s, rate, stretches) = (150.0, 0.02, 20_000);
        for keep_alive_s in [90.0, 1_000.0] {
            let length = Duration::from_secs_f64(length_s);
            let computed = platform(KeepAlive::For(Duration::from_secs_f64(keep_alive_s))).usage(
                &Population { rates: vec![rate] },
                length,
                Beginning::Empty,
            );
            let (mut random, mut cold_starts, mut waited_s) = (Random::new(7), 0.0, 0.0);
            for _ in 0..stretches {
                let (mut now, mut until) = (0.0, f64::NEG_INFINITY);
                loop {
                    let call: f64 = now - (1.0 - random.unit()).ln() / rate;
                    waited_s += (call.min(until).min(length_s) - now).max(0.0);
                    if call >= length_s {
                        break;
                    }
                    cold_starts += f64::from(u8::from(call > until));
                    (now, until) = (call, call + keep_alive_s);
                }
            }
            let (cold_starts, waited_s) = (cold_starts / stretches as f64, waited_s / stretches as f64);
            let held_s = computed.waiting.byte_s / 1e7;
            assert!((computed.cold_starts / cold_starts - 1.0).abs() < 0.03, "{computed:?} {cold_starts}");
            assert!((held_s / waited_s - 1.0).abs() < 0.03, "{held_s} {waited_s}");
        }
    }

    #[test]
    fn energy_counts_memory_that_waits() {
        let always = IdleCost { memory_bytes: 1e9, cpu_share: 0.0 };
        let platform = Platform { always, ..platform(DAY) };
        let hour = platform.hour(&Population::single(0.0));
        let model = EnergyModel { core_watts: 1.0, memory_watts_per_gb: 0.5 };
        assert!((hour.joules(model) - 1800.0).abs() < 1e-6);
    }
}
