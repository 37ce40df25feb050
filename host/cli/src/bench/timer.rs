//! Waits for an instant to within some microseconds. The event loop's own timers round to
//! milliseconds, which is longer than many calls take.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use rustix::time::{timerfd_create, timerfd_settime};
use tokio::io::unix::AsyncFd;

/// A timer of the kernel.
pub(super) struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    #[expect(
        deprecated,
        reason = "`register` is unsafe because a type may change its descriptor, which an `OwnedFd` can't"
    )]
    pub(super) fn new() -> io::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self(AsyncFd::new(timer)?))
    }

    /// Waits until an instant, and not at all if it has passed.
    pub(super) async fn sleep_until(&mut self, instant: Instant) -> io::Result<()> {
        let wait = instant.saturating_duration_since(Instant::now());
        // A timer of 0 would never end.
        if wait.is_zero() {
            return Ok(());
        }
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let once =
            Itimerspec { it_interval: never, it_value: Timespec::try_from(wait).map_err(io::Error::other)? };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.0.readable().await?;
            let mut expirations = [0; size_of::<u64>()];
            // An attempt that would block clears the readiness: it was that of an earlier wait.
            if let Ok(read) = ready.try_io(|timer| Ok(rustix::io::read(timer, &mut expirations)?)) {
                return read.map(|_| ());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn instants_are_awaited_one_after_the_other() {
        let executor = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        executor.block_on(async {
            let mut timer = Timer::new().unwrap();
            let start = Instant::now();
            for us in [0, 300, 600, 20_000] {
                let instant = start + Duration::from_micros(us);
                timer.sleep_until(instant).await.unwrap();
                assert!(Instant::now() >= instant, "{us}");
            }
            let before = Instant::now();
            timer.sleep_until(start).await.unwrap();
            assert!(before.elapsed() < Duration::from_secs(1), "the past isn't awaited");
        });
    }
}
