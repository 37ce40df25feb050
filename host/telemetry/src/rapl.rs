//! Measured energy: the counters that processors of Intel and AMD keep for themselves and for
//! memory (RAPL), as Linux shows them below `/sys/class/powercap`.
//!
//! ```text
//! intel-rapl:0/{name = package-0, energy_uj, max_energy_range_uj}     a processor
//! intel-rapl:0:2/{name = dram, ...}                                   its memory, on some machines
//! ```
//!
//! A counter is of the whole machine, idle power and other processes included, and moves about once
//! per millisecond. So it is read around a batch of calls that takes seconds, never around one, and
//! the idle share is measured before and subtracted.
//!
//! Invariant: a batch is shorter than the time in which a counter wraps, which takes minutes at
//! least.

use std::fs;
use std::io;
use std::ops::Sub;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The directory of the counters.
pub const POWERCAP: &str = "/sys/class/powercap";

/// The counters of a machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Rapl {
    packages: Vec<Counter>,
    memory: Vec<Counter>,
}

/// A counter in microjoules that starts again at 0 after its range.
#[derive(Clone, Debug, PartialEq)]
struct Counter {
    path: PathBuf,
    range_uj: u64,
}

/// The state of all counters at a moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    packages_uj: Vec<u64>,
    memory_uj: Vec<u64>,
}

/// Energy in joules, or power in watts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// The part of all processors.
    pub package: f64,
    /// The part of memory, or `None` if the machine has no counter for it.
    pub memory: Option<f64>,
}

impl Rapl {
    /// Finds the counters below `root`, which is [`POWERCAP`] on a machine, and reads them once.
    ///
    /// # Errors
    /// Returns an error that names the path if there is no counter, or if this process may not read
    /// one: most systems let only root.
    pub fn open(root: &Path) -> io::Result<Self> {
        let entries = fs::read_dir(root).map_err(|error| at(root, &error))?;
        let mut zones: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("intel-rapl:"))
            })
            .collect();
        zones.sort();
        let mut rapl = Self { packages: Vec::new(), memory: Vec::new() };
        for zone in zones {
            let name = read(&zone.join("name"))?;
            // The others are parts of a package, or the whole machine with its packages.
            let counters = match name.trim() {
                name if name.starts_with("package") => &mut rapl.packages,
                "dram" => &mut rapl.memory,
                _ => continue,
            };
            let range_uj = number(&zone.join("max_energy_range_uj"))?;
            counters.push(Counter { path: zone.join("energy_uj"), range_uj });
        }
        if rapl.packages.is_empty() {
            let message = format!("`{}` has no counter of a processor", root.display());
            return Err(io::Error::new(io::ErrorKind::NotFound, message));
        }
        rapl.read()?;
        Ok(rapl)
    }

    /// Returns whether the machine counts the energy of its memory.
    pub fn has_memory(&self) -> bool {
        !self.memory.is_empty()
    }

    /// Reads all counters.
    ///
    /// # Errors
    /// Returns an error that names the path if one can't be read.
    pub fn read(&self) -> io::Result<Reading> {
        let all = |counters: &[Counter]| -> io::Result<Vec<u64>> {
            counters.iter().map(|counter| number(&counter.path)).collect()
        };
        Ok(Reading { packages_uj: all(&self.packages)?, memory_uj: all(&self.memory)? })
    }

    /// Returns the joules between two readings. Each counter may have wrapped once.
    pub fn joules(&self, before: &Reading, after: &Reading) -> Measured {
        let sum = |counters: &[Counter], before: &[u64], after: &[u64]| -> f64 {
            let moved = counters.iter().zip(before).zip(after);
            moved.map(|((counter, before), after)| counter.moved_uj(*before, *after) as f64 / 1e6).sum()
        };
        Measured {
            package: sum(&self.packages, &before.packages_uj, &after.packages_uj),
            memory: self.has_memory().then(|| sum(&self.memory, &before.memory_uj, &after.memory_uj)),
        }
    }
}

impl Counter {
    fn moved_uj(&self, before: u64, after: u64) -> u64 {
        match after.checked_sub(before) {
            Some(moved) => moved,
            None => self.range_uj.saturating_sub(before) + after,
        }
    }
}

impl Measured {
    /// Returns processors and memory together.
    pub fn total(self) -> f64 {
        self.package + self.memory.unwrap_or(0.0)
    }

    /// Returns the power of energy that was used in a time.
    #[must_use]
    pub fn over(self, time: Duration) -> Self {
        self.map(|value| value / time.as_secs_f64())
    }

    /// Returns the energy of power that is drawn for a time.
    #[must_use]
    pub fn during(self, time: Duration) -> Self {
        self.map(|value| value * time.as_secs_f64())
    }

    fn map(self, value: impl Fn(f64) -> f64) -> Self {
        Self { package: value(self.package), memory: self.memory.map(value) }
    }
}

impl Sub for Measured {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        let memory = self.memory.zip(other.memory).map(|(one, other)| one - other);
        Self { package: self.package - other.package, memory }
    }
}

fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(path).map_err(|error| at(path, &error))
}

fn number(path: &Path) -> io::Result<u64> {
    let text = read(path)?;
    let invalid = |_| {
        let message = format!("`{}` is not a number: {}", path.display(), text.trim());
        io::Error::new(io::ErrorKind::InvalidData, message)
    };
    text.trim().parse().map_err(invalid)
}

/// Names the path of an error.
fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot read `{}`: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a zone as the kernel lays it out.
    fn zone(root: &Path, zone: &str, name: &str, energy_uj: u64) {
        let zone = root.join(zone);
        fs::create_dir_all(&zone).unwrap();
        fs::write(zone.join("name"), format!("{name}\n")).unwrap();
        fs::write(zone.join("max_energy_range_uj"), "1000000\n").unwrap();
        fs::write(zone.join("energy_uj"), format!("{energy_uj}\n")).unwrap();
    }

    fn set(root: &Path, zone: &str, energy_uj: u64) {
        fs::write(root.join(zone).join("energy_uj"), format!("{energy_uj}\n")).unwrap();
    }

    /// Two processors with memory, and zones that must not be counted twice.
    fn machine() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, name, energy_uj) in [
            ("intel-rapl:0", "package-0", 100_000),
            ("intel-rapl:0:0", "core", 50_000),
            ("intel-rapl:0:1", "dram", 10_000),
            ("intel-rapl:1", "package-1", 900_000),
            ("intel-rapl:1:0", "dram", 20_000),
            ("intel-rapl:2", "psys", 1),
            ("intel-rapl-mmio:0", "package-0", 100_000),
        ] {
            zone(root.path(), path, name, energy_uj);
        }
        fs::create_dir(root.path().join("intel-rapl")).unwrap();
        root
    }

    fn is_near(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 1e-9
    }

    #[test]
    fn packages_and_memory_are_summed_and_a_counter_may_wrap() {
        let root = machine();
        let rapl = Rapl::open(root.path()).unwrap();
        let before = rapl.read().unwrap();
        set(root.path(), "intel-rapl:0", 400_000);
        set(root.path(), "intel-rapl:0:0", 999_999);
        // 0.1 J to the end of the range, and 0.2 J from its beginning.
        set(root.path(), "intel-rapl:1", 200_000);
        set(root.path(), "intel-rapl:0:1", 60_000);
        let joules = rapl.joules(&before, &rapl.read().unwrap());
        assert!(is_near(joules.package, 0.6) && is_near(joules.memory.unwrap(), 0.05), "{joules:?}");
        assert!(is_near(joules.total(), 0.65));
        let again = rapl.read().unwrap();
        assert!(is_near(rapl.joules(&again, &again).total(), 0.0));
    }

    #[test]
    fn a_machine_without_a_counter_of_memory_has_none() {
        let root = tempfile::tempdir().unwrap();
        zone(root.path(), "intel-rapl:0", "package-0", 5);
        let rapl = Rapl::open(root.path()).unwrap();
        let before = rapl.read().unwrap();
        set(root.path(), "intel-rapl:0", 1_000_005 - 500_000);
        let joules = rapl.joules(&before, &rapl.read().unwrap());
        assert_eq!(joules.memory, None);
        assert!(!rapl.has_memory() && is_near(joules.total(), 0.5), "{joules:?}");
    }

    #[test]
    fn idle_power_is_subtracted_for_the_time() {
        let measured = |package, memory| Measured { package, memory: Some(memory) };
        let idle = measured(20.0, 4.0).over(Duration::from_secs(2));
        assert_eq!(idle, measured(10.0, 2.0));
        let batch = measured(100.0, 8.0) - idle.during(Duration::from_secs(3));
        assert_eq!(batch, measured(70.0, 2.0));
    }

    /// Every reason why a machine can't measure is an error that names the path.
    #[test]
    fn errors_name_the_path() {
        let missing = tempfile::tempdir().unwrap();
        let absent = missing.path().join("powercap");
        let no_processor = tempfile::tempdir().unwrap();
        zone(no_processor.path(), "intel-rapl:0", "psys", 1);
        let no_number = machine();
        fs::write(no_number.path().join("intel-rapl:0/energy_uj"), "much").unwrap();
        let unreadable = machine();
        // Root may read every file, so a directory stands for a file that can't be read.
        fs::remove_file(unreadable.path().join("intel-rapl:1/energy_uj")).unwrap();
        fs::create_dir(unreadable.path().join("intel-rapl:1/energy_uj")).unwrap();
        for (root, kind, path) in [
            (absent.as_path(), io::ErrorKind::NotFound, "powercap"),
            (no_processor.path(), io::ErrorKind::NotFound, "no counter of a processor"),
            (no_number.path(), io::ErrorKind::InvalidData, "intel-rapl:0/energy_uj"),
            (unreadable.path(), io::ErrorKind::IsADirectory, "intel-rapl:1/energy_uj"),
        ] {
            let error = Rapl::open(root).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(path), "{error}");
        }
        let denied = at(Path::new("/x/energy_uj"), &io::Error::from(io::ErrorKind::PermissionDenied));
        assert_eq!(denied.kind(), io::ErrorKind::PermissionDenied);
        assert!(denied.to_string().contains("/x/energy_uj"), "{denied}");
    }

    /// A counter that only root may read, as most systems have it. Root itself skips this.
    #[cfg(unix)]
    #[test]
    fn a_counter_that_may_not_be_read_is_denied() {
        use std::os::unix::fs::PermissionsExt as _;

        let root = machine();
        let path = root.path().join("intel-rapl:0/energy_uj");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        if fs::read(&path).is_err() {
            assert_eq!(Rapl::open(root.path()).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        }
    }
}
