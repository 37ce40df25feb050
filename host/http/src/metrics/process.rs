//! This process, as the kernel sees it.

use std::time::Duration;

use procfs::process::{LimitValue, Process};
use procfs::{CurrentSI, KernelStats, ProcResult, page_size, ticks_per_second};

/// This process at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProcessUsage {
    pub(super) cpu: Duration,
    /// Processor time of children that have ended, such as compilers.
    pub(super) children_cpu: Duration,
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    pub(super) threads: u64,
    pub(super) open_fds: u64,
    /// `None` without a limit.
    pub(super) max_fds: Option<u64>,
    /// Start, seconds since the Unix epoch.
    pub(super) started_unix_s: f64,
}

impl ProcessUsage {
    /// Reads the usage.
    ///
    /// # Errors
    /// If the kernel doesn't show it, for example because `/proc` isn't mounted.
    pub(super) fn read() -> ProcResult<Self> {
        let process = Process::myself()?;
        let stat = process.stat()?;
        let per_second = ticks_per_second() as f64;
        let time = |ticks: u64| Duration::from_secs_f64(ticks as f64 / per_second);
        let of_children = u64::try_from(stat.cutime + stat.cstime).unwrap_or(0);
        let booted_unix_s = KernelStats::current()?.btime as f64;
        Ok(Self {
            cpu: time(stat.utime + stat.stime),
            children_cpu: time(of_children),
            resident_bytes: stat.rss.saturating_mul(page_size()),
            virtual_bytes: stat.vsize,
            threads: u64::try_from(stat.num_threads).unwrap_or(0),
            open_fds: process.fd_count()? as u64,
            max_fds: match process.limits()?.max_open_files.soft_limit {
                LimitValue::Value(limit) => Some(limit),
                LimitValue::Unlimited => None,
            },
            started_unix_s: booted_unix_s + stat.starttime as f64 / per_second,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn this_process_has_memory_threads_and_files() {
        let usage = ProcessUsage::read().unwrap();
        assert!(usage.resident_bytes > 100_000 && usage.virtual_bytes >= usage.resident_bytes, "{usage:?}");
        assert!(usage.threads >= 1 && usage.open_fds >= 3, "{usage:?}");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(usage.started_unix_s <= now + 1.0 && usage.started_unix_s > now - 3600.0, "{usage:?}");
    }
}
