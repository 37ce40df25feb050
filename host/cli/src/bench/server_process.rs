//! Processor time and memory of the server, if it runs on this machine.

use std::collections::BTreeMap;
use std::net::ToSocketAddrs;
use std::time::Duration;

use procfs::process::Process;

use crate::address::PlaneUrl;
use crate::port::PortHolder;

/// The program that serves.
const PROGRAM: &str = "nebula";

/// The process of a server.
pub(crate) struct ServerProcess(Process);

impl ServerProcess {
    /// Finds the server that listens at a URL.
    ///
    /// # Errors
    /// Returns the reason if it can't be found.
    pub(crate) fn at(url: &PlaneUrl) -> Result<Self, String> {
        if !url.is_loopback() {
            return Err("the server isn't on this machine".to_owned());
        }
        let addresses = url.host_and_port().to_socket_addrs().into_iter().flatten();
        let holders: Vec<_> = addresses.flat_map(PortHolder::all).collect();
        match holders.iter().find(|holder| holder.runs(PROGRAM)) {
            Some(server) => {
                let process = Process::new(server.pid()).map_err(|error| error.to_string())?;
                Ok(Self(process))
            }
            None => Err(match holders.first() {
                Some(other) => format!("{other} answers at {url}, and the server behind it isn't known"),
                None => format!("no process of this user listens at {url}"),
            }),
        }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.0.pid
    }
}

/// Measures a server during a load.
pub(crate) struct ServerMeter {
    process: ServerProcess,
    before: Option<Reading>,
    /// The most resident memory that was seen.
    resident_bytes: u64,
}

/// The processor time and memory that a server used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    pub(super) pid: i32,
    pub(super) cpu: Duration,
    pub(super) memory_peak_bytes: u64,
}

/// The figures of procfs at a moment.
struct Reading {
    /// The time of each thread, nanoseconds. Empty if the kernel doesn't tell.
    threads_ns: BTreeMap<i32, u64>,
    /// The time of the process, which includes threads that have ended, in ticks of 10 ms.
    ticks: Duration,
    /// The most resident memory since the process began.
    peak_bytes: u64,
}

impl Reading {
    fn take(process: &Process) -> procfs::ProcResult<Self> {
        let stat = process.stat()?;
        let threads_ns =
            process.tasks()?.flatten().filter_map(|task| Some((task.tid, task.schedstat().ok()?)));
        Ok(Self {
            threads_ns: threads_ns.map(|(tid, stat)| (tid, stat.sum_exec_runtime)).collect(),
            ticks: Duration::from_secs(stat.utime + stat.stime)
                / u32::try_from(procfs::ticks_per_second()).unwrap_or(100),
            peak_bytes: process.status()?.vmhwm.unwrap_or(0) * 1024,
        })
    }

    /// Returns the processor time since an earlier reading.
    fn cpu_since(&self, earlier: &Self) -> Duration {
        let of_thread =
            |(tid, ns): (&i32, &u64)| ns.saturating_sub(*earlier.threads_ns.get(tid).unwrap_or(&0));
        let threads = Duration::from_nanos(self.threads_ns.iter().map(of_thread).sum());
        let ticks = self.ticks.saturating_sub(earlier.ticks);
        // Threads that have ended are in the ticks alone. These are rounded down, each by less than one.
        if ticks > threads + TICKS_ERROR { ticks } else { threads }
    }
}

/// The error of a difference of ticks.
const TICKS_ERROR: Duration = Duration::from_millis(20);

impl ServerMeter {
    pub(crate) fn new(process: ServerProcess) -> Self {
        Self { process, before: None, resident_bytes: 0 }
    }

    /// Begins to measure.
    pub(crate) fn begin(&mut self) {
        self.before = Reading::take(&self.process.0).ok();
        self.resident_bytes = 0;
        self.sample();
    }

    /// Looks at the memory.
    pub(crate) fn sample(&mut self) {
        let resident = self.process.0.statm().map(|memory| memory.resident * procfs::page_size());
        self.resident_bytes = self.resident_bytes.max(resident.unwrap_or(0));
    }

    /// Returns what the server used since it began. `None` if it has ended, or nothing was measured.
    pub(crate) fn finish(&mut self) -> Option<Used> {
        let before = self.before.as_ref()?;
        let after = Reading::take(&self.process.0).ok()?;
        // A peak that is new was reached meanwhile. Otherwise the samples are all that is known.
        let memory_peak_bytes =
            if after.peak_bytes > before.peak_bytes { after.peak_bytes } else { self.resident_bytes };
        Some(Used { pid: self.process.pid(), cpu: after.cpu_since(before), memory_peak_bytes })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn processor_time_and_memory_of_a_process_are_measured() {
        let mut meter = ServerMeter::new(ServerProcess(Process::myself().unwrap()));
        assert!(meter.finish().is_none(), "nothing was measured yet");
        meter.begin();
        let started = Instant::now();
        let mut memory = vec![0_u8; 32 << 20];
        while started.elapsed() < Duration::from_millis(100) {
            memory.iter_mut().step_by(4096).for_each(|byte| *byte = byte.wrapping_add(1));
        }
        meter.sample();
        let used = meter.finish().unwrap();
        drop(memory);
        assert!(used.cpu >= Duration::from_millis(5), "{used:?}");
        assert!(used.memory_peak_bytes >= 32 << 20, "{used:?}");
    }

    #[test]
    fn threads_that_have_ended_count_by_their_ticks() {
        let reading = |threads: &[(i32, u64)], ticks_ms| Reading {
            threads_ns: threads.iter().map(|(tid, ms)| (*tid, ms * 1_000_000)).collect(),
            ticks: Duration::from_millis(ticks_ms),
            peak_bytes: 0,
        };
        let before = reading(&[(1, 100), (2, 50)], 150);
        for (after, ms) in [
            (reading(&[(1, 103), (2, 50)], 150), 3),
            (reading(&[(1, 103), (3, 7)], 160), 10),
            (reading(&[(1, 103)], 450), 300),
            (reading(&[], 250), 100),
        ] {
            assert_eq!(after.cpu_since(&before), Duration::from_millis(ms));
        }
    }

    #[test]
    fn servers_elsewhere_and_other_programs_are_named() {
        let reason = |url: &str| ServerProcess::at(&url.parse().unwrap()).err().unwrap();
        assert_eq!(reason("https://nebula.example.org"), "the server isn't on this machine");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        // This test is another program.
        assert!(reason(&url).contains(&format!("process {} (`", std::process::id())), "{}", reason(&url));
        drop(listener);
        assert_eq!(reason(&url), format!("no process of this user listens at {url}"));
    }
}
