//! Rebuilding a project when a file that its build reads changes.
//!
//! ```text
//! build -> which files does it read? -> wait until the content of one changes -> build
//!   \-> did one change meanwhile? -> build again, once for each file
//! ```
//!
//! The files are looked at several times a second. There are few, because the build lists them, so
//! this costs next to nothing. Unlike the system's notifications it doesn't lose directories that
//! are removed and put back, and it works on every file system.
//!
//! Invariant: a build that writes what it reads doesn't rebuild forever. A file that changes during
//! two builds in a row seems to be written by them, so its second change causes no build. A message
//! says so, because somebody may have edited it twice.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use super::snapshot::Snapshot;
use crate::project::{Builder, Inputs, Project};
use crate::report::{self, note};

/// The least time between two looks at the files.
const INTERVAL_MIN: Duration = Duration::from_millis(150);

/// The time between two looks, as a multiple of the time that one takes.
const INTERVAL_RATIO: u32 = 20;

/// The longest wait for changes to end. Files may be written all the time.
const SETTLE_MAX: Duration = Duration::from_secs(2);

/// The precision of time stamps of files, and more.
const STAMP_PRECISION: Duration = Duration::from_millis(50);

/// The files that every build may write although it reads them.
const WRITTEN_BY_CARGO: [&str; 2] = ["Cargo.lock", "src/bindings.rs"];

/// Watches the files of a project.
pub(super) struct ProjectWatcher {
    builder: Builder,
    inputs: Inputs,
    /// The files as the current or last build has found them.
    built: Snapshot,
    build_began: SystemTime,
    own_writes: OwnWrites,
    /// The time until the next look.
    pause: Duration,
}

impl ProjectWatcher {
    /// Starts to watch the files of a project, before its first build.
    pub(super) fn before_build(project: &Project, builder: Builder) -> Self {
        let inputs = project.inputs(builder, true);
        let build_began = SystemTime::now();
        let built = Snapshot::take(inputs.files(), None);
        let (own_writes, pause) = (OwnWrites::default(), INTERVAL_MIN);
        Self { builder, inputs, built, build_began, own_writes, pause }
    }

    /// Rebuilds after each change, forever. `failed` tells whether the first build did.
    pub(super) fn run<T>(
        mut self,
        mut project: Project,
        mut failed: bool,
        rebuild: impl Fn(&Project) -> anyhow::Result<T>,
    ) {
        let mut changed = self.after_build(&project, failed);
        loop {
            if changed.is_empty() {
                changed = self.wait_for_change();
            }
            note(format!("rebuilding: {}", describe(&project, &changed)));
            self.build_began = SystemTime::now();
            // The change may have added or removed functions, or changed their limits.
            let rebuilt = project.reopen().and_then(|reopened| {
                project = reopened;
                rebuild(&project)
            });
            failed = rebuilt.is_err();
            changed = self.after_build(&project, failed);
            // Printed last: an edit that follows the message isn't one during the build.
            match rebuilt {
                Ok(_) => note("up to date"),
                Err(error) => report::error(&error),
            }
        }
    }

    /// Lists the files that the build has read. Returns those that have changed since it began, so
    /// that it may have read an earlier content.
    fn after_build(&mut self, project: &Project, failed: bool) -> BTreeSet<PathBuf> {
        let at_end = Snapshot::take(self.inputs.files(), Some(&self.built));
        let mut during = self.built.changes(&at_end);
        // This takes a while, in which files may change too.
        let mut inputs = project.inputs(self.builder, failed);
        if failed {
            inputs.extend(&self.inputs);
        }
        let (known, files) = (self.inputs.files(), inputs.files());
        let listed = Snapshot::take(known.union(&files).cloned().collect(), Some(&at_end));
        during.extend(listed.written_since(self.build_began - STAMP_PRECISION, &at_end));
        let mut again = self.own_writes.build_again_for(during);
        again.extend(at_end.changes(&listed.only(&known)));
        self.built = listed.only(&files);
        self.inputs = inputs;
        again
    }

    /// Waits until the content of a file changes, and for the end of the changes. Returns the files.
    fn wait_for_change(&mut self) -> BTreeSet<PathBuf> {
        loop {
            let mut seen = self.look();
            if self.built.changes(&seen).is_empty() {
                // The same contents, with newer stamps: they needn't be read again.
                self.built = seen;
                continue;
            }
            // Editors write a file in several steps, and people change several files.
            let began = Instant::now();
            while began.elapsed() < SETTLE_MAX {
                let now = self.look();
                let is_settled = seen.changes(&now).is_empty();
                seen = now;
                if is_settled {
                    break;
                }
            }
            let changed = self.built.changes(&seen);
            self.built = seen;
            if !changed.is_empty() {
                return changed;
            }
        }
    }

    /// Looks at the files after a pause.
    fn look(&mut self) -> Snapshot {
        std::thread::sleep(self.pause);
        let began = Instant::now();
        let snapshot = Snapshot::take(self.inputs.files(), Some(&self.built));
        self.pause = INTERVAL_MIN.max(began.elapsed() * INTERVAL_RATIO);
        snapshot
    }
}

/// The files that builds write.
#[derive(Debug, Default)]
struct OwnWrites {
    /// The files that changed during the last build.
    during_last: BTreeSet<PathBuf>,
    /// The files that a message has named.
    named: BTreeSet<PathBuf>,
}

impl OwnWrites {
    /// Returns the files for which to build again, of those that changed during a build.
    fn build_again_for(&mut self, during: BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
        let is_cargos = |path: &&PathBuf| WRITTEN_BY_CARGO.iter().any(|file| path.ends_with(file));
        let during: BTreeSet<_> = during.into_iter().filter(|path| !is_cargos(&path)).collect();
        for path in during.intersection(&self.during_last) {
            if self.named.insert(path.clone()) {
                note(format!(
                    "`{}` changed during two builds in a row, as if they wrote it: if you edited it, save it again",
                    path.display()
                ));
            }
        }
        let again = during.difference(&self.during_last).cloned().collect();
        self.during_last = during;
        again
    }
}

/// Names the changed files, with paths relative to the project.
fn describe(project: &Project, changed: &BTreeSet<PathBuf>) -> String {
    let shown = |path: &PathBuf| path.strip_prefix(&project.root).unwrap_or(path).display().to_string();
    let first = changed.first().map(shown).unwrap_or_default();
    match changed.len() {
        0 | 1 => format!("`{first}` changed"),
        count => format!("`{first}` and {} more changed", count - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files<const N: usize>(names: [&str; N]) -> BTreeSet<PathBuf> {
        names.map(PathBuf::from).into()
    }

    /// A generated file causes one more build, an edit during a build causes one each time.
    #[test]
    fn a_file_that_changes_during_two_builds_in_a_row_is_their_own() {
        let mut own = OwnWrites::default();
        assert_eq!(own.build_again_for(files(["generated.rs", "Cargo.lock"])), files(["generated.rs"]));
        assert_eq!(own.build_again_for(files(["generated.rs", "edited.rs"])), files(["edited.rs"]));
        assert_eq!(own.build_again_for(files(["generated.rs"])), files([]));
        assert_eq!(own.build_again_for(files(["edited.rs", "generated.rs"])), files(["edited.rs"]));
        assert_eq!(own.build_again_for(files([])), files([]));
        // A build without a change of the file ends the row.
        assert_eq!(own.build_again_for(files(["generated.rs"])), files(["generated.rs"]));
    }
}
