//! The memory that processes hold while something happens, integrated over its time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::footprint;

/// The outcome of an action, and the memory held meanwhile.
pub(crate) struct Held<T> {
    pub(crate) value: T,
    /// Bytes times the seconds for which they were held.
    pub(crate) byte_s: f64,
}

/// Reads the memory of all processes that this one has started (PSS) every `step` while `action`
/// runs.
///
/// # Errors
/// Returns the error of `action`, or an error if memory can't be read.
pub(crate) fn during<T>(
    step: Duration,
    action: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<Held<T>> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let observer = scope.spawn(|| integrate(step, &is_over));
        let value = action();
        is_over.store(true, Ordering::Relaxed);
        let byte_s = observer.join().map_err(|_| anyhow::anyhow!("the observer panicked"))??;
        Ok(Held { value: value?, byte_s })
    })
}

fn integrate(step: Duration, is_over: &AtomicBool) -> anyhow::Result<f64> {
    let (mut byte_s, mut last) = (0.0, Instant::now());
    loop {
        let bytes = footprint::memory_of_descendants(std::process::id())?.proportional as f64;
        let now = Instant::now();
        byte_s += bytes * (now - last).as_secs_f64();
        last = now;
        if is_over.load(Ordering::Relaxed) {
            return Ok(byte_s);
        }
        thread::sleep(step);
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// Other tests start processes too, so only a lower limit can be told.
    #[test]
    fn memory_of_a_child_is_counted_for_its_time() {
        let held = during(Duration::from_millis(5), || {
            let mut child = Command::new("sleep").arg("0.3").stdout(Stdio::null()).spawn()?;
            Ok(child.wait()?.success())
        });
        let held = held.unwrap();
        assert!(held.value && held.byte_s > 0.1 * 50_000.0, "{}", held.byte_s);
    }
}
