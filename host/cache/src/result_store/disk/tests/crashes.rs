//! Crash tests: a process is killed, or a machine loses power, in the middle of a write.
//!
//! Every write to a results file is logged. From the log any moment can be reconstructed: the file
//! after a kill, the file after a loss of power, and worse. In each such file a lookup must return
//! the right result or nothing.

use std::io;
use std::mem::ManuallyDrop;
use std::sync::mpsc::RecvTimeoutError;

use bytes::Bytes;
use nebula_model::answer::{Answer, Content};
use proptest::prelude::{ProptestConfig, RngExt};
use proptest::test_runner::{RngAlgorithm, RngSeed, TestRng};
use redb::StorageBackend;

use super::*;

/// Size of the disk tier, small enough that results are soon evicted.
const BYTES_MAX: u64 = 256 * 1024;

/// Maximum size of a result, bytes: several pages of the file.
const BODY_BYTES_MAX: usize = 20_000;

/// Number of different results. The file holds a few dozen at a time.
const RESULTS_COUNT: u64 = 200;

/// Number of moments of the log that each test checks.
const MOMENTS: usize = 60;

/// Size of a kernel page, bytes. Each such page of a write either reaches the disk or doesn't.
const PAGE_BYTES: usize = 4096;

/// Maximum number of damaged places found before the file is recreated for good.
const TRIES: usize = 3;

/// Timeout for one file. Only a hang gets near it.
const PATIENCE: Duration = Duration::from_secs(60);

/// Random numbers, repeatable with `PROPTEST_RNG_SEED`. Prints the seed when a test fails.
struct Seeded {
    seed: u64,
    rng: TestRng,
}

impl Seeded {
    fn new() -> Self {
        let seed = match ProptestConfig::default().rng_seed {
            RngSeed::Fixed(seed) => seed,
            RngSeed::Random => getrandom::u64().unwrap(),
        };
        let bytes = blake3::hash(&seed.to_le_bytes());
        Self { seed, rng: TestRng::from_seed(RngAlgorithm::ChaCha, bytes.as_bytes()) }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.rng.random_range(0..bound)
    }

    /// Returns true once in `times` calls on average.
    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

impl Drop for Seeded {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("PROPTEST_RNG_SEED={} repeats this", self.seed);
        }
    }
}

/// Returns the result for `key(index)`, the same each time.
fn result(index: u64) -> Arc<CachedResult> {
    let mut bytes = blake3::Hasher::new().update(&index.to_le_bytes()).finalize_xof();
    let mut length = [0; 4];
    bytes.fill(&mut length);
    let mut body = vec![0; u32::from_le_bytes(length) as usize % BODY_BYTES_MAX];
    bytes.fill(&mut body);
    let content = Content { media_type: format!("x/{index}").into(), body: Bytes::from(body) };
    let answer = if index.is_multiple_of(5) { Answer::Error(content) } else { Answer::Value(content) };
    Arc::new(CachedResult::new(
        Ok(answer),
        component_of(index),
        COST + Duration::from_micros(index),
        ENGINE.into(),
    ))
}

/// Returns one of three components.
fn component_of(index: u64) -> Digest {
    Digest::of(&[(index % 3) as u8])
}

/// Returns whether the result is found. Panics if it is wrong.
fn is_found(disk: &Disk, index: u64) -> bool {
    let found = disk.find(&key(index), soon());
    if let Some(found) = &found {
        let right = result(index);
        let is_right = matches!(
            (&found.result, &right.result), (Ok(found), Ok(right)) if found.same(right)
        );
        assert!(is_right, "a wrong answer to {index}: {:?}", found.result);
        assert_eq!((found.component, found.cost), (right.component, right.cost), "{index}");
        assert_eq!(found.content_hash, right.content_hash, "{index}");
    }
    found.is_some()
}

/// An operation on a file.
#[derive(Debug)]
enum Done {
    Resized(usize),
    Written(usize, Vec<u8>),
    /// All earlier operations are on disk and survive a loss of power.
    Synced,
}

/// A file in memory that logs its operations.
#[derive(Debug, Default)]
struct Log {
    done: Mutex<(Image, Vec<Done>)>,
}

impl Log {
    fn append(&self, done: Done) {
        let (image, log) = &mut *self.done.lock().unwrap();
        image.apply(&done);
        log.push(done);
    }
}

/// The content of a file.
#[derive(Clone, Debug, Default)]
struct Image(Vec<u8>);

impl Image {
    fn apply(&mut self, done: &Done) {
        match done {
            Done::Resized(length) => self.0.resize(*length, 0),
            Done::Written(at, data) => self.write(*at, data),
            Done::Synced => {}
        }
    }

    fn write(&mut self, at: usize, data: &[u8]) {
        let end = at + data.len();
        if end > self.0.len() {
            self.0.resize(end, 0);
        }
        self.0[at..end].copy_from_slice(data);
    }
}

#[derive(Debug)]
struct Logged(Arc<Log>);

impl StorageBackend for Logged {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.done.lock().unwrap().0.0.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (image, _) = &*self.0.done.lock().unwrap();
        let read = image.0.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(read.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.append(Done::Resized(len as usize));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.append(Done::Synced);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.append(Done::Written(offset as usize, data.to_vec()));
        Ok(())
    }
}

/// Writes results like a server under requests: some of them repeatedly, with occasional removals.
/// Returns the log, and its length when the first results were certainly written.
fn logged(seeded: &mut Seeded) -> (Vec<Done>, usize) {
    let directory = tempfile::tempdir().unwrap();
    let log = Arc::new(Log::default());
    let disk = Disk::new(directory.path(), BYTES_MAX, seal());
    let database = Builder::new().set_cache_size(CACHE_BYTES).create_with_backend(Logged(Arc::clone(&log)));
    *disk.shared.database() = Some(Arc::new(database.unwrap()));
    for index in 0..20 {
        disk.keep(key(index), result(index));
    }
    disk.flush(soon()).unwrap();
    let first = log.done.lock().unwrap().1.len();
    for _ in 0..40 {
        for _ in 0..=seeded.below(12) {
            let index = seeded.rng.random_range(0..RESULTS_COUNT);
            disk.keep(key(index), result(index));
        }
        // Without a flush more results share a transaction.
        if !seeded.once_in(3) {
            disk.flush(soon()).unwrap();
        }
        for _ in 0..10 {
            is_found(&disk, seeded.rng.random_range(0..RESULTS_COUNT));
        }
        if seeded.once_in(12) {
            let components = HashSet::from([component_of(seeded.rng.random_range(0..3))]);
            disk.remove(Removal::Components(components), soon()).unwrap();
        }
    }
    drop(disk);
    assert!(!directory.path().join("results.redb").exists(), "it wrote to a file of its own");
    let (_, log) = std::mem::take(&mut *log.done.lock().unwrap());
    (log, first)
}

/// The content of a file that was reopened.
struct Found {
    results: u64,
    /// The number of entries according to the file.
    entries: u64,
}

impl Found {
    fn by(disk: &Disk) -> Self {
        let results = (0..RESULTS_COUNT).filter(|index| is_found(disk, *index)).count() as u64;
        // These totals may be damaged as well.
        let entries = disk.usage().values().fold(0, |sum: u64, usage| sum.saturating_add(usage.entries));
        Self { results, entries }
    }
}

/// Looks up all results in a file. Never closes the file, because redb writes when it does.
fn read(image: &Image) -> Found {
    watched(image, |directory| {
        let disk = ManuallyDrop::new(Disk::new(directory.path(), BYTES_MAX, seal()));
        Found::by(&disk)
    })
}

/// Looks up all results in a file, and then checks that the file works like any other.
fn read_and_write(image: &Image) -> Found {
    watched(image, |directory| {
        let disk = Disk::new(directory.path(), BYTES_MAX, seal());
        let found = Found::by(&disk);
        // Damage found during a write costs the data being written.
        let keep = |disk: &Disk, index: u64| {
            let mut tries = 0..TRIES;
            let is_kept = |_| {
                disk.keep(key(index), result(index));
                disk.flush(soon()).unwrap();
                is_found(disk, index)
            };
            assert!(tries.any(is_kept), "nothing can be kept any more");
        };
        keep(&disk, RESULTS_COUNT);
        disk.remove(Removal::All, soon()).unwrap();
        assert!(!(0..=RESULTS_COUNT).any(|index| is_found(&disk, index)), "something wasn't forgotten");
        keep(&disk, 0);
        drop(disk);
        keep(&Disk::new(directory.path(), BYTES_MAX, seal()), 1);
        found
    })
}

/// Runs `look` on a file, with a timeout.
fn watched<T: Send + 'static>(image: &Image, look: impl FnOnce(&TempDir) -> T + Send + 'static) -> T {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("results.redb"), &image.0).unwrap();
    let (tell, told) = channel();
    let thread = std::thread::spawn(move || {
        // After the timeout the receiver is gone.
        let _ = tell.send(look(&directory));
    });
    match told.recv_timeout(PATIENCE) {
        Ok(found) => found,
        Err(RecvTimeoutError::Timeout) => panic!("a file that takes forever"),
        Err(RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(thread.join().expect_err("it ends by telling"))
        }
    }
}

/// A moment of a log.
struct Moment<'a> {
    /// The file when the last sync returned.
    synced: &'a Image,
    /// Operations since then; the last one is under way.
    since: &'a [Done],
}

impl Moment<'_> {
    /// Returns the file with all operations, the last one in part.
    fn killed(&self, seeded: &mut Seeded) -> Image {
        let mut image = self.synced.clone();
        let Some((last, before)) = self.since.split_last() else { return image };
        before.iter().for_each(|done| image.apply(done));
        if let Done::Written(at, data) = last {
            image.write(*at, &data[..seeded.below(data.len() + 1)]);
        }
        image
    }

    /// Returns the file with a random choice of the pages written since the last sync.
    fn without_power(&self, seeded: &mut Seeded) -> Image {
        let mut image = self.synced.clone();
        for done in self.since {
            match done {
                Done::Written(at, data) => {
                    let pages = data.chunks(PAGE_BYTES).zip((*at..).step_by(PAGE_BYTES));
                    pages.filter(|_| seeded.once_in(2)).for_each(|(page, at)| image.write(at, page));
                }
                Done::Resized(_) if seeded.once_in(2) => image.apply(done),
                Done::Resized(_) | Done::Synced => {}
            }
        }
        image
    }
}

/// Calls `look` at some moments of `log`, after its first `first` entries.
fn at_moments(
    log: &[Done],
    first: usize,
    seeded: &mut Seeded,
    mut look: impl FnMut(&mut Seeded, &Moment<'_>),
) {
    let mut moments: Vec<_> = (0..MOMENTS).map(|_| first + seeded.below(log.len() - first)).collect();
    moments.sort_unstable();
    let (mut synced, mut since) = (Image::default(), 0);
    for moment in moments {
        while let Some(sync) = log[since..moment].iter().position(|done| matches!(done, Done::Synced)) {
            log[since..since + sync].iter().for_each(|done| synced.apply(done));
            since += sync + 1;
        }
        look(seeded, &Moment { synced: &synced, since: &log[since..moment] });
    }
}

/// Only the data being written is lost; the rest remains and is consistent.
#[test]
fn kill_loses_only_the_write_under_way() {
    let mut seeded = Seeded::new();
    let (log, first) = logged(&mut seeded);
    let mut writes_cut = 0;
    at_moments(&log, first, &mut seeded, |seeded, moment| {
        writes_cut += u32::from(matches!(moment.since.last(), Some(Done::Written(..))));
        let found = read_and_write(&moment.killed(seeded));
        assert!(found.results > 0, "all is lost");
        assert_eq!(found.results, found.entries, "results found, entries counted");
    });
    assert!(writes_cut > 0, "no write was cut");
}

/// The same as for a kill, except that any page may be written of the data since the last sync.
#[test]
fn power_loss_loses_only_the_write_under_way() {
    let mut seeded = Seeded::new();
    let (log, first) = logged(&mut seeded);
    at_moments(&log, first, &mut seeded, |seeded, moment| {
        let found = read_and_write(&moment.without_power(seeded));
        assert!(found.results > 0, "all is lost");
        assert_eq!(found.results, found.entries, "results found, entries counted");
    });
}

/// A disk must not lose synced data, but some do: pages revert to an old state.
///
/// The files are only read: when redb writes to such a file, it may panic in a destructor during a
/// panic, which ends the process.
#[test]
fn stale_pages_cause_no_wrong_answer() {
    let mut seeded = Seeded::new();
    let (log, first) = logged(&mut seeded);
    let (mut earlier, mut results, mut lost) = (Image::default(), 0, 0);
    at_moments(&log, first, &mut seeded, |seeded, moment| {
        let mut image = moment.killed(seeded);
        for _ in 0..seeded.below(8) {
            let at = seeded.below(image.0.len() / PAGE_BYTES) * PAGE_BYTES;
            if let Some(page) = earlier.0.get(at..at + PAGE_BYTES) {
                image.write(at, page);
            }
        }
        let found = read(&image);
        results += found.results;
        lost += u32::from(found.results < found.entries || found.results == 0);
        if seeded.once_in(4) {
            earlier.clone_from(moment.synced);
        }
    });
    assert!(results > 0 && lost > 0, "{results} results found, {lost} files damaged");
}

/// A disk must not lose the end of a file either.
#[test]
fn missing_end_causes_no_wrong_answer() {
    let mut seeded = Seeded::new();
    let (log, first) = logged(&mut seeded);
    at_moments(&log, first, &mut seeded, |seeded, moment| {
        let mut image = moment.killed(seeded);
        let end = image.0.iter().rposition(|byte| *byte != 0).unwrap();
        // The unused end of the file may be missing.
        let length =
            if seeded.once_in(3) { seeded.below(image.0.len()) } else { end + 1 + seeded.below(PAGE_BYTES) };
        image.0.truncate(length);
        read_and_write(&image);
    });
}
