//! Scheduling: tells the kernel which threads are urgent.
//!
//! A serving thread runs for microseconds at a time and must start at once; a thread of the compute
//! lane runs for as long as the scheduler lets it. A weight alone doesn't express that: a thread
//! that wakes up waits until the running thread has used up its slice, some milliseconds, however
//! heavy it is. Since Linux 6.12 a thread can request another slice length (`sched_setattr(2)`,
//! `sched_runtime`). A thread that wakes up with a shorter slice preempts at once, as long as it
//! hasn't used more than its share.
//!
//! Work that may wait for ever runs under `SCHED_IDLE` (sched(7)).
//!
//! (`nebula-bench mixed` measures the effect; hyper alone beside it has the default slices.)
//!
//! Invariant: answers don't depend on this module. If the system refuses, threads keep their
//! settings.
#![expect(unsafe_code, reason = "no library wraps sched_setattr for ordinary threads; see the call")]

use std::time::Duration;

/// A serving thread's slice: the shortest that the kernel allows.
const SERVING_SLICE: Duration = Duration::from_micros(100);

/// Distance of the compute lane below the serving threads, in steps of `setpriority(2)`: about a
/// tenth of their weight. With eight long calls on a core, half of it is still left to short calls
/// under load; and the lane still progresses while other programs are busy.
pub const COMPUTE_NICE_STEPS: i32 = 10;

/// The lowest priority of the system.
pub const NICE_MAX: i32 = 19;

/// Makes the calling thread a serving thread.
pub fn serve() {
    schedule(0, SERVING_SLICE);
}

/// Makes the calling thread a compute-lane thread, even if a serving thread started it.
pub fn compute() {
    // Zero selects the system's default slice.
    schedule(COMPUTE_NICE_STEPS, Duration::ZERO);
}

/// Makes the calling thread run only when no other thread wants the core.
pub fn idle() {
    if !set(libc::SCHED_IDLE, 0, 0, Duration::ZERO) {
        // The lowest priority that the older call offers.
        let _ = rustix::process::setpriority_process(None, NICE_MAX);
    }
}

/// Lowers the calling thread's priority by `nice_steps` and sets the length of its slices.
fn schedule(nice_steps: i32, slice: Duration) {
    let Ok(nice) = rustix::process::getpriority_process(None) else { return };
    let nice = (nice + nice_steps).min(NICE_MAX);
    let refused = !set(libc::SCHED_OTHER, libc::SCHED_FLAG_KEEP_POLICY as u64, nice, slice);
    if refused && nice_steps > 0 {
        // Some sandboxes allow only the older call. If both fail, the thread competes as an equal.
        let _ = rustix::process::setpriority_process(None, nice);
    }
}

/// Sets the calling thread's attributes. Returns false if the system refuses.
fn set(policy: libc::c_int, flags: u64, nice: i32, slice: Duration) -> bool {
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: policy as u32,
        sched_flags: flags,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: u64::try_from(slice.as_nanos()).unwrap_or(0),
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel reads `size` bytes of `attributes`, which lives until the call returns,
    // and writes nothing to our memory; 0 is the calling thread.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compute_lane_is_below_the_thread_that_starts_it() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let own = nice();
        let below = std::thread::spawn(move || {
            serve();
            let serving = nice();
            compute();
            (serving, nice())
        });
        assert_eq!(below.join().unwrap(), (own, (own + COMPUTE_NICE_STEPS).min(NICE_MAX)));
    }

    /// Returns `se.slice` of `/proc/thread-self/sched`, nanoseconds, if the kernel shows it and
    /// lets it be set.
    fn slice_ns() -> Option<u128> {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
        let mut numbers = release.split('.').map_while(|number| number.parse::<u32>().ok());
        if (numbers.next()?, numbers.next()?) < (6, 12) {
            return None;
        }
        let sched = std::fs::read_to_string("/proc/thread-self/sched").ok()?;
        let line = sched.lines().find(|line| line.starts_with("se.slice"))?;
        line.rsplit(':').next()?.trim().parse().ok()
    }

    #[test]
    fn idle_threads_have_the_lowest_priority() {
        let policy = std::thread::spawn(|| {
            idle();
            // Field 41 of proc_pid_stat(5); two fields precede the name's closing parenthesis.
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let (_, rest) = stat.rsplit_once(')').unwrap();
            let policy = rest.split_whitespace().nth(38).unwrap().parse::<libc::c_int>().unwrap();
            (policy, rustix::process::getpriority_process(None).unwrap())
        });
        let (policy, nice) = policy.join().unwrap();
        assert!(policy == libc::SCHED_IDLE || nice == NICE_MAX, "{policy} {nice}");
    }

    #[test]
    fn only_serving_threads_have_short_slices() {
        let seen = std::thread::spawn(|| {
            let before = slice_ns()?;
            serve();
            let serving = slice_ns()?;
            compute();
            Some((before, serving, slice_ns()?))
        });
        // Other kernels don't show the slice.
        if let Some((before, serving, computing)) = seen.join().unwrap() {
            assert_eq!(serving, SERVING_SLICE.as_nanos());
            assert_eq!(computing, before);
        }
    }
}
