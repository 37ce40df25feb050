//! Rebuilding a project when its sources change.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context;
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};

use crate::project::Project;
use crate::report::{self, note};

/// The time without changes after which a change is built.
const SETTLE: Duration = Duration::from_millis(200);

/// Watches the files of a project.
pub(super) struct ProjectWatcher {
    watcher: RecommendedWatcher,
    events: mpsc::Receiver<notify::Result<Event>>,
    watched: BTreeSet<PathBuf>,
}

impl ProjectWatcher {
    pub(super) fn start(project: &Project) -> anyhow::Result<Self> {
        let (sender, events) = mpsc::channel();
        let watcher = notify::recommended_watcher(sender).context("cannot watch for changes")?;
        let mut this = Self { watcher, events, watched: BTreeSet::new() };
        this.watch(&project.directory, RecursiveMode::NonRecursive)?;
        this.follow(project);
        Ok(this)
    }

    fn watch(&mut self, path: &Path, mode: RecursiveMode) -> anyhow::Result<()> {
        self.watcher.watch(path, mode).with_context(|| format!("cannot watch `{}`", path.display()))
    }

    /// Watches the directories below the project's own, except those that builds write.
    fn follow(&mut self, project: &Project) {
        let entries = std::fs::read_dir(&project.directory).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            if path.is_dir() && project.is_source(&path) && !self.watched.contains(&path) {
                match self.watch(&path, RecursiveMode::Recursive) {
                    Ok(()) => _ = self.watched.insert(path),
                    Err(error) => report::error(&error),
                }
            }
        }
    }

    /// Rebuilds after each change, until the watcher fails. `path` is the project's directory as
    /// given.
    pub(super) fn run<T>(
        mut self,
        mut project: Project,
        path: &Path,
        rebuild: impl Fn(&Project) -> anyhow::Result<T>,
    ) {
        while let Ok(event) = self.events.recv() {
            if !is_change(&project, event) {
                continue;
            }
            // Editors write a file in several steps, and people change several files.
            while self.events.recv_timeout(SETTLE).is_ok() {}
            note("rebuilding after a change");
            // The change may have added or removed functions, or changed their limits.
            let rebuilt = Project::open(path).and_then(|reopened| {
                project = reopened;
                rebuild(&project)
            });
            match rebuilt {
                Ok(_) => note("up to date"),
                Err(error) => report::error(&error),
            }
            self.follow(&project);
        }
    }
}

/// Returns whether the event changed a source. Reading one doesn't.
fn is_change(project: &Project, event: notify::Result<Event>) -> bool {
    match event {
        Ok(event) => !event.kind.is_access() && event.paths.iter().any(|path| project.is_source(path)),
        Err(error) => {
            note(format!("cannot watch for changes: {error}"));
            false
        }
    }
}
