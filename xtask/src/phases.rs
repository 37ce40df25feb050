//! Runs the named phases of a task, or only one of them, and reports the time that each took.

use std::time::{Duration, Instant};

/// The phases that have run so far, and which ones to run.
#[derive(Default)]
pub(crate) struct Phases {
    /// The only phase to run. Runs all phases if it is `None`.
    only: Option<String>,
    timings: Vec<(&'static str, Duration)>,
}

impl Phases {
    /// Selects the phase to run by its name.
    pub(crate) fn only(name: &str) -> Self {
        Self { only: Some(name.to_owned()), timings: Vec::new() }
    }

    /// Runs a phase if it is selected, and records its time even if it fails.
    pub(crate) fn run(
        &mut self,
        name: &'static str,
        phase: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        if self.only.as_ref().is_some_and(|only| only != name) {
            return Ok(());
        }
        eprintln!("\n== {name}");
        let started = Instant::now();
        let outcome = phase();
        self.timings.push((name, started.elapsed()));
        outcome
    }

    /// Fails if the selected phase doesn't exist.
    pub(crate) fn finish(&self) -> Result<(), String> {
        match &self.only {
            Some(only) if self.timings.is_empty() => Err(format!("unknown phase `{only}`")),
            Some(_) | None => Ok(()),
        }
    }

    /// Prints the seconds that each phase took, and their sum. Prints nothing if no phase ran.
    pub(crate) fn print(&self) {
        if self.timings.is_empty() {
            return;
        }
        eprintln!("\nseconds by phase");
        let sum = self.timings.iter().map(|(_, time)| *time).sum();
        for (name, time) in self.timings.iter().chain([&("all", sum)]) {
            eprintln!("  {name:<14}{:>7.1}", time.as_secs_f64());
        }
    }
}
