//! The change between two answers of a server.
//!
//! After a restart of the server the later counts stand for themselves, and so do those of a function
//! whose calls have fallen, because it was removed and deployed again. If it was called more often than
//! before since then, that isn't noticed, and the change is that of both functions together.

use std::collections::BTreeMap;
use std::time::Duration;

use nebula_http::wire::{CallStats, DurationStats, LaneStats, PhaseStats, ServerStats, SourceStats, Stats};
use nebula_runtime::id::FunctionName;

/// The change from one answer to a later one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Interval {
    /// The time between the answers; after a restart, that since the server's start. Not zero.
    pub(crate) length: Duration,
    /// The server has restarted since the earlier answer.
    pub(crate) restarted: bool,
    /// The calls of all functions.
    pub(crate) all: CallStats,
    /// The calls of each function that was called since the server's start.
    pub(crate) functions: BTreeMap<FunctionName, CallStats>,
    /// The part of a core that the process used; `None` if the server doesn't tell.
    pub(crate) cores: Option<f64>,
    /// The power of the server, as its `energy_method` says; `None` if the server doesn't tell.
    pub(crate) watts: Option<f64>,
}

impl Interval {
    /// Returns the change from `before` to `now`; `None` if no time has passed.
    pub(crate) fn between(before: &Stats, now: &Stats) -> Option<Self> {
        let restarted =
            now.started_at_unix_us != before.started_at_unix_us || now.all.calls < before.all.calls;
        let since_us = if restarted { now.started_at_unix_us } else { before.at_unix_us };
        let length = Duration::from_micros(now.at_unix_us.checked_sub(since_us).filter(|us| *us > 0)?);
        let none = CallStats::default();
        let (before, server_before) =
            if restarted { (None, None) } else { (Some(before), Some(&before.server)) };
        let of = |name| before.and_then(|before| before.functions.get(name)).unwrap_or(&none);
        let functions = now.functions.iter().map(|(name, counts)| (name.clone(), change(of(name), counts)));
        let resources = Resources::between(server_before, &now.server);
        Some(Self {
            length,
            restarted,
            all: change(before.map_or(&none, |before| &before.all), &now.all),
            functions: functions.collect(),
            cores: resources.cpu_s.map(|cpu_s| cpu_s / length.as_secs_f64()),
            watts: resources.joules.map(|joules| joules / length.as_secs_f64()),
        })
    }

    /// Returns a count as a rate per second.
    pub(crate) fn per_s(&self, count: u64) -> f64 {
        count as f64 / self.length.as_secs_f64()
    }
}

/// The resources that the server has used between two answers.
struct Resources {
    cpu_s: Option<f64>,
    joules: Option<f64>,
}

impl Resources {
    fn between(before: Option<&ServerStats>, now: &ServerStats) -> Self {
        // Two methods count different things.
        let same_method = before.is_none_or(|before| before.energy_method == now.energy_method);
        let cpu_before = before.and_then(|before| before.cpu_us).unwrap_or(0);
        let joules_before = before.and_then(|before| before.energy_joules).unwrap_or(0.0);
        Self {
            cpu_s: now.cpu_us.map(|cpu_us| cpu_us.saturating_sub(cpu_before) as f64 / 1e6),
            joules: now.energy_joules.filter(|_| same_method).map(|joules| (joules - joules_before).max(0.0)),
        }
    }
}

/// Returns the difference of two counts; the later one alone if it is of other calls.
fn change(before: &CallStats, now: &CallStats) -> CallStats {
    if now.calls < before.calls {
        return now.clone();
    }
    let CallStats {
        calls,
        errors,
        errors_by_code,
        cold_starts,
        sources: SourceStats { memory, disk, merged, miss, uncached, refused },
        lanes: LaneStats { fast, compute },
        restarts,
        input_bytes,
        output_bytes,
        saved_us,
        cpu_us,
        energy_joules,
        saved_energy_joules,
        phases: PhaseStats { queue, load, start, run },
    } = before;
    let by_code = |(code, count): (&String, &u64)| {
        let change = count.saturating_sub(errors_by_code.get(code).copied().unwrap_or(0));
        (change > 0).then(|| (code.clone(), change))
    };
    CallStats {
        calls: now.calls.saturating_sub(*calls),
        errors: now.errors.saturating_sub(*errors),
        errors_by_code: now.errors_by_code.iter().filter_map(by_code).collect(),
        cold_starts: now.cold_starts.saturating_sub(*cold_starts),
        sources: SourceStats {
            memory: now.sources.memory.saturating_sub(*memory),
            disk: now.sources.disk.saturating_sub(*disk),
            merged: now.sources.merged.saturating_sub(*merged),
            miss: now.sources.miss.saturating_sub(*miss),
            uncached: now.sources.uncached.saturating_sub(*uncached),
            refused: now.sources.refused.saturating_sub(*refused),
        },
        lanes: LaneStats {
            fast: now.lanes.fast.saturating_sub(*fast),
            compute: now.lanes.compute.saturating_sub(*compute),
        },
        restarts: now.restarts.saturating_sub(*restarts),
        input_bytes: now.input_bytes.saturating_sub(*input_bytes),
        output_bytes: now.output_bytes.saturating_sub(*output_bytes),
        saved_us: now.saved_us.saturating_sub(*saved_us),
        cpu_us: now.cpu_us.saturating_sub(*cpu_us),
        energy_joules: (now.energy_joules - energy_joules).max(0.0),
        saved_energy_joules: (now.saved_energy_joules - saved_energy_joules).max(0.0),
        phases: PhaseStats {
            queue: durations(queue, &now.phases.queue),
            load: durations(load, &now.phases.load),
            start: durations(start, &now.phases.start),
            run: durations(run, &now.phases.run),
        },
    }
}

fn durations(before: &DurationStats, now: &DurationStats) -> DurationStats {
    let before_in = |bucket: usize| before.counts.get(bucket).copied().unwrap_or(0);
    let counts = now.counts.iter().enumerate();
    DurationStats {
        counts: counts.map(|(bucket, count)| count.saturating_sub(before_in(bucket))).collect(),
        sum_us: now.sum_us.saturating_sub(before.sum_us),
    }
}

#[cfg(test)]
pub(crate) mod samples {
    //! Answers of a server.

    use super::*;

    /// A time since which nothing has changed.
    const START_US: u64 = 1_700_000_000_000_000;

    /// An answer `at_s` seconds after the server's start, with calls by function.
    pub(crate) fn answer(at_s: u64, functions: &[(&str, CallStats)]) -> Stats {
        let mut all = CallStats::default();
        for (_, counts) in functions {
            all.calls += counts.calls;
            all.errors += counts.errors;
            all.sources.miss += counts.sources.miss;
        }
        let functions = functions.iter().map(|(name, counts)| (name.parse().unwrap(), counts.clone()));
        Stats {
            at_unix_us: START_US + at_s * 1_000_000,
            started_at_unix_us: START_US,
            bucket_bounds_us: vec![10, 100, 1000],
            server: server(at_s),
            all,
            functions: functions.collect(),
        }
    }

    /// The same server after a restart, at the same time.
    pub(crate) fn restarted(mut answer: Stats, started_at_s: u64) -> Stats {
        answer.started_at_unix_us += started_at_s * 1_000_000;
        answer
    }

    /// Counts of calls that ran, all in one bucket.
    pub(crate) fn calls(calls: u64) -> CallStats {
        let run = DurationStats { counts: vec![0, calls], sum_us: calls * 50 };
        CallStats {
            calls,
            sources: SourceStats { miss: calls, ..SourceStats::default() },
            input_bytes: calls * 3,
            cpu_us: calls * 50,
            energy_joules: calls as f64 * 0.5,
            phases: PhaseStats { run, ..PhaseStats::default() },
            ..CallStats::default()
        }
    }

    fn server(at_s: u64) -> ServerStats {
        serde_json::from_value(serde_json::json!({
            "cpu_us": at_s * 500_000, "memory_bytes": 64 << 20, "energy_joules": at_s * 2, "energy_method": "modelled",
            "connections": {"data": 3, "control": 1},
            "lane_running": 2, "lane_running_max": 64, "lane_waiting": 0, "lane_waiting_max": 512,
            "instances_ready": 5, "instances_running": 4, "instances_max": 2000,
            "loaded_components": 7, "loaded_code_bytes": 12 << 20, "loaded_code_bytes_max": 1 << 30,
            "compilers_running": 0, "compilers_waiting": 0,
            "cached_results": {
                "memory": {"results": 42, "bytes": 1 << 20, "bytes_max": 256 << 20},
                "disk": {"results": 9, "bytes": 0, "bytes_max": 1 << 30},
            },
        }))
        .unwrap()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::samples::{answer, calls, restarted};
    use super::*;

    fn of<'a>(interval: &'a Interval, name: &str) -> &'a CallStats {
        &interval.functions[&name.parse::<FunctionName>().unwrap()]
    }

    #[test]
    fn rates_are_differences_by_time() {
        let before = answer(10, &[("a", calls(100)), ("b", calls(5))]);
        let now = answer(12, &[("a", calls(400)), ("b", calls(5)), ("c", calls(1))]);
        let interval = Interval::between(&before, &now).unwrap();
        assert_eq!((interval.length, interval.restarted), (Duration::from_secs(2), false));
        assert_eq!(interval.all.calls, 301);
        assert_eq!(of(&interval, "a").phases.run, DurationStats { counts: vec![0, 300], sum_us: 15_000 });
        let rates = ["a", "b", "c"].map(|name| interval.per_s(of(&interval, name).calls));
        assert_eq!(rates.map(f64::to_bits), [150.0, 0.0, 0.5].map(f64::to_bits));
        assert_eq!(interval.cores, Some(0.5));
        assert_eq!(interval.watts, Some(2.0));
        assert_eq!(Interval::between(&now, &now), None);
        assert_eq!(Interval::between(&now, &before).map(|it| it.restarted), Some(true));
    }

    #[test]
    fn after_a_restart_the_counts_stand_for_themselves() {
        let before = answer(100, &[("a", calls(1000)), ("gone", calls(1))]);
        // More calls than before: only the start tells.
        for later in [7, 5000] {
            let now = restarted(answer(104, &[("a", calls(later))]), 102);
            let interval = Interval::between(&before, &now).unwrap();
            assert_eq!((interval.length, interval.restarted), (Duration::from_secs(2), true));
            assert_eq!((of(&interval, "a").calls, interval.functions.len()), (later, 1));
        }
    }

    #[test]
    fn a_function_that_was_removed_and_deployed_again_begins_at_0() {
        let before = answer(1, &[("a", calls(9)), ("b", calls(9))]);
        let now = answer(2, &[("a", calls(2)), ("b", calls(20))]);
        let interval = Interval::between(&before, &now).unwrap();
        assert!(!interval.restarted);
        assert_eq!((of(&interval, "a").calls, of(&interval, "b").calls), (2, 11));
    }

    #[test]
    fn what_the_server_does_not_tell_is_unknown() {
        let (mut before, mut now) = (answer(1, &[]), answer(2, &[]));
        now.server.energy_method = Some(nebula_http::wire::EnergyMethod::Measured);
        assert_eq!(Interval::between(&before, &now).unwrap().watts, None);
        for stats in [&mut before, &mut now] {
            (stats.server.cpu_us, stats.server.energy_joules) = (None, None);
        }
        let interval = Interval::between(&before, &now).unwrap();
        assert_eq!((interval.cores, interval.watts), (None, None));
    }

    proptest! {
        /// The changes of consecutive intervals add up to the counts, whatever the answers are.
        #[test]
        fn changes_add_up(increases in prop::collection::vec(0..1000_u64, 1..20)) {
            let (mut total, mut sum) = (0, CallStats::default());
            let mut before = answer(1, &[]);
            for (index, increase) in increases.iter().enumerate() {
                total += increase;
                let now = answer(index as u64 + 2, &[("a", calls(total))]);
                let interval = Interval::between(&before, &now).unwrap();
                let change = of(&interval, "a");
                sum.calls += change.calls;
                sum.input_bytes += change.input_bytes;
                sum.sources.miss += change.sources.miss;
                sum.phases.run.sum_us += change.phases.run.sum_us;
                prop_assert_eq!(change.phases.run.counts.iter().sum::<u64>(), *increase);
                before = now;
            }
            let expected = calls(total);
            prop_assert_eq!((sum.calls, sum.input_bytes), (expected.calls, expected.input_bytes));
            prop_assert_eq!((sum.sources, sum.phases.run.sum_us), (expected.sources, expected.phases.run.sum_us));
        }
    }
}
