//! Cells and their raw files: the samples of one arm, one function and one size of input.
//!
//! A file is written when a cell is complete, so that a run that was interrupted continues with the
//! others. A file whose conditions differ from those of the run is measured again.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::arms::ArmKind;
use super::workload::{Function, Size};

/// The conditions that samples must share to be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Conditions {
    pub(crate) machine: String,
    pub(crate) cores: String,
    pub(crate) accounting: String,
    /// The commit of the sources, if git knows it.
    pub(crate) commit: Option<String>,
    pub(crate) optimised: bool,
    /// SHA-256 of Nebula's program.
    pub(crate) nebula: String,
    /// The arms that take turns.
    pub(crate) arms: Vec<ArmKind>,
    /// The number of samples of each cell.
    pub(crate) samples: usize,
    /// The calls of each arm before the first sample.
    pub(crate) warm_up_calls: usize,
}

/// The samples of a cell.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) conditions: Conditions,
    pub(crate) arm: ArmKind,
    pub(crate) function: Function,
    pub(crate) size: Size,
    pub(crate) input_bytes: usize,
    pub(crate) output_bytes: usize,
    pub(crate) finished_at_unix_s: u64,
    /// Every sample, in the order of the rounds; none is left out.
    pub(crate) samples: Vec<Sample>,
}

/// The measures of one call.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sample {
    /// From the request handed over to the complete answer received.
    pub(crate) total_us: f64,
    /// The time until the function ran, by the platform's own account. Only Nebula has one, so that
    /// arms aren't compared by it.
    pub(crate) start_us: Option<f64>,
    /// The part inside the function, by the clock of the program that calls it.
    pub(crate) run_us: f64,
    /// The CPU time of everything that the call caused, also after the answer.
    pub(crate) cpu_us: f64,
    /// The peak of memory that the arm held, if the machine accounts for it.
    pub(crate) memory_bytes: Option<u64>,
}

impl Sample {
    /// Returns the part outside the function: starting, handing over input and answer, and all else.
    pub(crate) fn platform_us(&self) -> f64 {
        self.total_us - self.run_us
    }
}

/// Returns the path of a cell's file.
fn path(out: &Path, arm: ArmKind, function: Function, size: Size) -> PathBuf {
    out.join("raw").join(format!("{}-{}-{}.json", function.name(), size.name(), arm.name()))
}

/// Writes a file of JSON, complete or not at all.
///
/// # Errors
/// Returns an error if it can't be written.
pub(crate) fn write(path: &Path, value: &impl Serialize) -> anyhow::Result<()> {
    let json = format!("{}\n", serde_json::to_string_pretty(value)?);
    // A rename, so that no incomplete file is found later.
    let part = path.with_extension("part");
    std::fs::write(&part, json)
        .and_then(|()| std::fs::rename(&part, path))
        .with_context(|| format!("cannot write `{}`", path.display()))
}

impl Cell {
    /// Writes the file.
    ///
    /// # Errors
    /// Returns an error if it can't be written.
    pub(crate) fn write(&self, out: &Path) -> anyhow::Result<()> {
        write(&path(out, self.arm, self.function, self.size), self)
    }

    /// Reads the file if there is one with these conditions.
    pub(crate) fn find(
        out: &Path,
        conditions: &Conditions,
        arm: ArmKind,
        function: Function,
        size: Size,
    ) -> Option<Self> {
        let json = std::fs::read(path(out, arm, function, size)).ok()?;
        let cell: Self = serde_json::from_slice(&json).ok()?;
        (cell.conditions == *conditions).then_some(cell)
    }
}

#[cfg(test)]
pub(crate) mod tests;
