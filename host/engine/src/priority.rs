//! What the kernel's scheduler is told of the kinds of threads.
//!
//! A serving thread runs for microseconds at a time and must not wait for them; a thread of the compute lane
//! runs for as long as it is let. Weight alone doesn't say that: a thread that wakes up waits until the
//! running one has had its slice, some milliseconds, however heavy it is. Since Linux 6.12 a thread may ask
//! for slices of another length (`sched_setattr(2)`, `sched_runtime`), and one that wakes up with a shorter slice
//! takes the core at once, as long as it hasn't had more than its share.
//!
//! What may wait for ever runs under `SCHED_IDLE` (sched(7)).
//!
//! (`nebula-bench mixed` measures it; hyper alone beside it has the default slices.)
//!
//! Invariant: nothing here is needed for answers to be right; where the system refuses, threads are as they were.
#![expect(unsafe_code, reason = "no library wraps sched_setattr for ordinary threads; see the call")]

use std::time::Duration;

/// A serving thread's slice: the shortest there is.
const SERVING_SLICE: Duration = Duration::from_micros(100);

/// How far below the serving threads the compute lane is, in steps of `setpriority(2)`: about a tenth of their
/// weight. Eight long calls on a core leave half of it to short ones, where there are so many; and the lane
/// still gets on where other programs are busy.
pub const COMPUTE_NICE_STEPS: i32 = 10;

/// The lowest priority there is.
pub const NICE_MAX: i32 = 19;

/// Makes the calling thread one that serves.
pub fn serve() {
    schedule(0, SERVING_SLICE);
}

/// Makes the calling thread one of the compute lane, whichever thread has started it.
pub fn compute() {
    // No slice of its own: the system's default.
    schedule(COMPUTE_NICE_STEPS, Duration::ZERO);
}

/// Makes the calling thread one that runs when no other wants the core.
pub fn idle() {
    if !set(libc::SCHED_IDLE, 0, 0, Duration::ZERO) {
        // The lowest that the older call has.
        let _ = rustix::process::setpriority_process(None, NICE_MAX);
    }
}

/// Moves the calling thread down by `nice_steps`, with slices of so long.
fn schedule(nice_steps: i32, slice: Duration) {
    let Ok(nice) = rustix::process::getpriority_process(None) else { return };
    let nice = (nice + nice_steps).min(NICE_MAX);
    let refused = !set(libc::SCHED_OTHER, libc::SCHED_FLAG_KEEP_POLICY as u64, nice, slice);
    if refused && nice_steps > 0 {
        // Some sandboxes know only the older call. Without either the thread is no worse than its neighbours.
        let _ = rustix::process::setpriority_process(None, nice);
    }
}

/// Whether the system has it so for the calling thread.
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
    // SAFETY: the kernel reads `size` bytes of `attributes`, which lives until the call returns, and writes
    // nothing to our memory; 0 is the calling thread.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compute_lane_is_below_whoever_starts_it() {
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

    /// `se.slice` of `/proc/thread-self/sched`, nanoseconds, where the kernel shows it and lets it be set.
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
    fn who_may_wait_is_below_everybody() {
        let policy = std::thread::spawn(|| {
            idle();
            // proc_pid_stat(5), field 41: the ones before the name's closing parenthesis are two.
            let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
            let (_, rest) = stat.rsplit_once(')').unwrap();
            let policy = rest.split_whitespace().nth(38).unwrap().parse::<libc::c_int>().unwrap();
            (policy, rustix::process::getpriority_process(None).unwrap())
        });
        let (policy, nice) = policy.join().unwrap();
        assert!(policy == libc::SCHED_IDLE || nice == NICE_MAX, "{policy} {nice}");
    }

    #[test]
    fn short_slices_are_the_serving_threads_alone() {
        let seen = std::thread::spawn(|| {
            let before = slice_ns()?;
            serve();
            let serving = slice_ns()?;
            compute();
            Some((before, serving, slice_ns()?))
        });
        // Elsewhere there is nothing to see.
        if let Some((before, serving, computing)) = seen.join().unwrap() {
            assert_eq!(serving, SERVING_SLICE.as_nanos());
            assert_eq!(computing, before);
        }
    }
}
