//! A queue of lines, and the thread that writes them.
//!
//! ```text
//! push (any thread) -> queue --(nebula-log)--> stderr | stdout
//!          \-(no room)-> counted; told after the next line that is written
//! ```
//!
//! `std`'s bounded channel is the queue. A library for this (`tracing-appender`) would bring a crate
//! for dates and a second channel, and it counts lost lines without telling them.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

/// The most lines that wait to be written.
const LINES_MAX: usize = 8 * 1024;

/// The most bytes that wait to be written. What a function prints may be long.
const BYTES_MAX: usize = 8 * 1024 * 1024;

/// The bytes that are written at once, unless a line is longer.
const WRITE_BYTES: usize = 64 * 1024;

/// The longest wait for the lines that are left when the process ends.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// The pause before trying again to tell a full queue that the process ends.
const FLUSH_PAUSE: Duration = Duration::from_millis(10);

/// The lines that wait to be written. Cheap to clone.
#[derive(Clone)]
pub(crate) struct LineQueue {
    sender: SyncSender<Entry>,
    counts: Arc<Counts>,
}

enum Entry {
    /// A line, without its line feed.
    Line(String),
    /// Answered when the lines before it are written.
    Flush(SyncSender<()>),
}

#[derive(Default)]
struct Counts {
    /// The bytes that wait.
    bytes: AtomicUsize,
    /// The lines that were lost and not told yet.
    lost: AtomicU64,
}

/// Writes the lines that wait when it is dropped, unless that takes too long.
pub(crate) struct QueueGuard(SyncSender<Entry>);

impl LineQueue {
    /// Starts the thread that writes to `output`. `lost` makes the line that tells how many lines
    /// were lost.
    ///
    /// # Errors
    /// If the thread can't start.
    pub(crate) fn start(
        thread_name: &str,
        output: impl Write + Send + 'static,
        lost: fn(u64) -> String,
    ) -> anyhow::Result<(Self, QueueGuard)> {
        let (sender, waiting) = sync_channel(LINES_MAX);
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        thread::Builder::new()
            .name(thread_name.to_owned())
            .spawn(move || write(output, &waiting, &counted, lost))
            .context("cannot start the thread that writes the log")?;
        let guard = QueueGuard(sender.clone());
        Ok((Self { sender, counts }, guard))
    }

    /// Adds a line, if there is room. Doesn't wait.
    pub(crate) fn push(&self, line: String) {
        let Counts { bytes, lost } = &*self.counts;
        let length = line.len();
        if bytes.fetch_add(length, Ordering::Relaxed) + length > BYTES_MAX
            || self.sender.try_send(Entry::Line(line)).is_err()
        {
            bytes.fetch_sub(length, Ordering::Relaxed);
            lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for QueueGuard {
    fn drop(&mut self) {
        let until = Instant::now() + FLUSH_MAX;
        let (written, is_written) = sync_channel(1);
        while self.0.try_send(Entry::Flush(written.clone())).is_err() {
            if Instant::now() >= until {
                return;
            }
            thread::sleep(FLUSH_PAUSE);
        }
        // Its reader may never read the rest.
        let _ = is_written.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

/// Writes lines until all senders are gone: as many at once as wait.
fn write(mut output: impl Write, waiting: &Receiver<Entry>, counts: &Counts, lost: fn(u64) -> String) {
    let mut buffer = Vec::new();
    while let Ok(first) = waiting.recv() {
        let mut flushed = Vec::new();
        let mut lines_bytes = 0;
        let mut add = |entry, buffer: &mut Vec<u8>| match entry {
            Entry::Line(line) => {
                lines_bytes += line.len();
                buffer.extend_from_slice(line.as_bytes());
                buffer.push(b'\n');
            }
            Entry::Flush(written) => flushed.push(written),
        };
        add(first, &mut buffer);
        while buffer.len() < WRITE_BYTES
            && let Ok(next) = waiting.try_recv()
        {
            add(next, &mut buffer);
        }
        // A closed stderr has no reader to tell.
        let _ = output.write_all(&buffer);
        counts.bytes.fetch_sub(lines_bytes, Ordering::Relaxed);
        let lines = counts.lost.swap(0, Ordering::Relaxed);
        if lines > 0 {
            let _ = output.write_all(format!("{}\n", lost(lines)).as_bytes());
        }
        let _ = output.flush();
        for written in flushed {
            let _ = written.try_send(());
        }
        buffer.clear();
        buffer.shrink_to(WRITE_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Mutex, MutexGuard};

    use super::*;

    /// An output that can be read, and held back.
    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl Output {
        fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
            self.0.lock().unwrap()
        }
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lost(lines: u64) -> String {
        format!("lost {lines}")
    }

    #[test]
    fn lines_are_written_in_order_before_the_end() {
        let output = Output::default();
        let (queue, guard) = LineQueue::start("test", output.clone(), lost).unwrap();
        let lines: Vec<_> = (0..1000).map(|number| format!("line {number}")).collect();
        for line in &lines {
            queue.push(line.clone());
        }
        drop(guard);
        assert_eq!(String::from_utf8(output.lock().clone()).unwrap(), lines.join("\n") + "\n");
    }

    /// A reader that stops reading holds no caller up. The lines that it lost are told once it reads.
    #[test]
    fn a_slow_reader_loses_lines_and_is_told_how_many() {
        for (line, lines) in [("short".to_owned(), 3 * LINES_MAX), ("x".repeat(BYTES_MAX / 4), 64)] {
            let output = Output::default();
            let (queue, guard) = LineQueue::start("test", output.clone(), lost).unwrap();
            let held = output.lock();
            for _ in 0..lines {
                queue.push(line.clone());
            }
            // It gives up: the end of the process doesn't wait for the reader.
            drop(guard);
            drop(held);
            let told = |text: &str| {
                let numbers =
                    text.lines().filter_map(|line| line.strip_prefix("lost ")?.parse::<usize>().ok());
                numbers.sum::<usize>()
            };
            let until = Instant::now() + Duration::from_secs(10);
            loop {
                let text = String::from_utf8(output.lock().clone()).unwrap();
                let written = text.lines().filter(|it| **it == line).count();
                if written > 0 && written + told(&text) == lines {
                    assert!(written < lines, "some are lost");
                    break;
                }
                assert!(Instant::now() < until, "{written} lines were written, {} are told", told(&text));
                thread::sleep(FLUSH_PAUSE);
            }
        }
    }
}
