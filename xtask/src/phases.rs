//! Phases of a task and the time that each took.

use std::time::{Duration, Instant};

#[derive(Default)]
pub(crate) struct Phases {
    /// The only phase to run, if one was asked for.
    only: Option<String>,
    taken: Vec<(&'static str, Duration)>,
}

impl Phases {
    /// Runs only the phase of this name.
    pub(crate) fn only(name: &str) -> Self {
        Self { only: Some(name.to_owned()), taken: Vec::new() }
    }

    /// Runs a phase; a failed one counts too.
    pub(crate) fn run(
        &mut self,
        name: &'static str,
        phase: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        if self.only.as_ref().is_some_and(|only| only != name) {
            return Ok(());
        }
        eprintln!("\n== {name}");
        let begun = Instant::now();
        let done = phase();
        self.taken.push((name, begun.elapsed()));
        done
    }

    /// Fails if no phase has the name that was asked for.
    pub(crate) fn finish(&self) -> Result<(), String> {
        match &self.only {
            Some(only) if self.taken.is_empty() => Err(format!("there is no phase `{only}`")),
            Some(_) | None => Ok(()),
        }
    }

    /// Prints the seconds of each phase and their sum, if there were any.
    pub(crate) fn print(&self) {
        if self.taken.is_empty() {
            return;
        }
        eprintln!("\nseconds by phase");
        let sum = self.taken.iter().map(|(_, taken)| *taken).sum();
        for (name, taken) in self.taken.iter().chain([&("all", sum)]) {
            eprintln!("  {name:<14}{:>7.1}", taken.as_secs_f64());
        }
    }
}
