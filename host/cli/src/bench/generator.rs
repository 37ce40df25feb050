//! Measures the load itself. If it didn't keep up, requests were sent late through no fault of the
//! server, and the load isn't an open loop.

use std::time::{Duration, Instant};

use procfs::FromRead;
use procfs::process::Schedstat;

use super::tally::Latencies;

/// The lag that is always accepted: the kernel wakes a thread within it, unless the machine is busy.
const LAG_MIN: Duration = Duration::from_millis(1);

/// The largest part of a latency that may be the load's own lag.
const LAG_SHARE_MAX: u32 = 10;

/// The largest share of the time in which the load's thread may run or wait for a core. Above it,
/// answers wait to be read.
const OCCUPIED_SHARE_MAX: f64 = 0.9;

/// Measures the load's thread, on which it has to be used.
pub(super) struct GeneratorMeter {
    started: Instant,
    before: Option<Schedstat>,
    /// The times from the instants at which requests were due to those at which a free connection
    /// began to send them.
    lag: Latencies,
}

/// The use of the load itself, and whether it kept up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GeneratorUse {
    pub(super) lag_p99: Duration,
    pub(super) lag_max: Duration,
    /// The processor time; `None` if the kernel doesn't tell.
    pub(super) cpu: Option<Duration>,
    /// The share of the time in which the thread ran, or waited for a core.
    pub(super) occupied_share: Option<f64>,
    pub(super) kept_up: bool,
}

impl GeneratorUse {
    pub(crate) fn kept_up(&self) -> bool {
        self.kept_up
    }
}

impl GeneratorMeter {
    pub(super) fn start() -> Self {
        Self { started: Instant::now(), before: of_this_thread(), lag: Latencies::new() }
    }

    /// Begins again, without what was recorded.
    pub(super) fn restart(&mut self) {
        *self = Self::start();
    }

    pub(super) fn record_lag(&mut self, lag: Duration) {
        self.lag.record(lag);
    }

    /// Returns what the load took since the start. `latency_p99` is that of the requests.
    pub(super) fn finish(&self, latency_p99: Duration) -> GeneratorUse {
        let (before, after) = (self.before.as_ref(), of_this_thread());
        let took = before.zip(after.as_ref()).map(|(before, after)| {
            let ran_ns = after.sum_exec_runtime.saturating_sub(before.sum_exec_runtime);
            let waited_ns = after.run_delay.saturating_sub(before.run_delay);
            (Duration::from_nanos(ran_ns), Duration::from_nanos(waited_ns))
        });
        let elapsed_s = self.started.elapsed().as_secs_f64().max(f64::MIN_POSITIVE);
        let occupied_share = took.map(|(ran, waited)| (ran + waited).as_secs_f64() / elapsed_s);
        let lag_p99 = self.lag.percentile(99.0);
        GeneratorUse {
            lag_p99,
            lag_max: self.lag.max(),
            cpu: took.map(|(ran, _)| ran),
            occupied_share,
            kept_up: keeps_up(lag_p99, latency_p99, occupied_share),
        }
    }
}

/// Returns whether neither the lag nor a thread without rest distorts the latencies.
fn keeps_up(lag_p99: Duration, latency_p99: Duration, occupied_share: Option<f64>) -> bool {
    let is_prompt = lag_p99 <= LAG_MIN.max(latency_p99 / LAG_SHARE_MAX);
    is_prompt && occupied_share.is_none_or(|share| share <= OCCUPIED_SHARE_MAX)
}

fn of_this_thread() -> Option<Schedstat> {
    Schedstat::from_file("/proc/thread-self/schedstat").ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_that_distorts_latencies_is_reported() {
        let ms = Duration::from_millis;
        for (lag, latency, occupied, expected) in [
            (ms(0), ms(1), Some(0.5), true),
            (ms(1), ms(1), None, true),
            (ms(5), ms(20), Some(0.5), false),
            (ms(5), ms(100), Some(0.5), true),
            (ms(0), ms(1), Some(0.95), false),
        ] {
            assert_eq!(keeps_up(lag, latency, occupied), expected, "{lag:?} of {latency:?}, {occupied:?}");
        }
        let mut meter = GeneratorMeter::start();
        meter.record_lag(ms(100));
        let took = meter.finish(ms(100));
        assert!(took.lag_p99 >= ms(100) && took.lag_max >= ms(100) && !took.kept_up, "{took:?}");
        meter.restart();
        assert_eq!(meter.finish(ms(100)).lag_max, Duration::ZERO);
    }

    #[test]
    fn a_thread_without_rest_has_not_kept_up() {
        let meter = GeneratorMeter::start();
        while meter.started.elapsed() < Duration::from_millis(200) {}
        let took = meter.finish(Duration::from_millis(1));
        // `None` on kernels without these statistics.
        if let Some(share) = took.occupied_share {
            assert!(share > OCCUPIED_SHARE_MAX && !took.kept_up, "{took:?}");
        }
    }
}
