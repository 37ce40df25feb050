//! The counts of all functions' calls since the host started.
//!
//! ```text
//! open --> CallTally --(close)--> added to the function's total
//! ```
//!
//! Invariants:
//! * The sum over all functions and the rest never falls: a tally moves to its function's total under
//!   the same lock under which both are read.
//! * The counts of a function that was removed aren't lost, and aren't those of a function that gets
//!   its name.
//! * A reader holds the lock while it copies what each function has, and adds the counts up after it:
//!   a serving thread that finds a function for the first time waits for that lock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nebula_model::id::FunctionName;

use crate::call::tally::{CallCounts, CallTally};

/// The tallies of one host.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Mutex<State>);

#[derive(Clone, Debug, Default)]
struct State {
    functions: BTreeMap<FunctionName, Counted>,
    /// Functions that were removed, until [`Tallies::forget`].
    removed: BTreeMap<FunctionName, Counted>,
    rest: CallCounts,
}

/// The calls of one function.
#[derive(Clone, Debug, Default)]
struct Counted {
    total: CallCounts,
    /// Tallies that are being kept.
    open: Vec<Arc<CallTally>>,
}

/// The calls of all functions since the host started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallReport {
    /// The functions that had calls, by name, without those that were removed.
    pub functions: BTreeMap<FunctionName, CallCounts>,
    /// All calls, also those of functions that were removed.
    pub all: CallCounts,
}

/// Counts of calls since the host started, for metrics.
#[derive(Clone, Debug, Default)]
pub(crate) struct CountsByFunction {
    /// By name, with functions that were removed.
    pub(crate) functions: BTreeMap<FunctionName, CallCounts>,
    /// Functions that were removed and [forgotten](Tallies::forget).
    pub(crate) rest: CallCounts,
}

impl Counted {
    fn counts(&self) -> CallCounts {
        let mut counts = self.total.clone();
        for tally in &self.open {
            counts += &tally.counts();
        }
        counts
    }

    fn add(&mut self, other: Self) {
        self.total += &other.total;
        self.open.extend(other.open);
    }

    /// Adds a tally to the total, if it is one of these.
    fn close(&mut self, tally: &Arc<CallTally>) -> bool {
        let Some(at) = self.open.iter().position(|open| Arc::ptr_eq(open, tally)) else { return false };
        self.total += &self.open.swap_remove(at).counts();
        true
    }
}

impl Tallies {
    /// Begins a tally of a function's calls.
    pub(crate) fn open(&self, name: &FunctionName) -> Arc<CallTally> {
        let tally = Arc::new(CallTally::default());
        self.lock().functions.entry(name.clone()).or_default().open.push(Arc::clone(&tally));
        tally
    }

    /// Ends a tally, which nothing writes any more.
    pub(crate) fn close(&self, name: &FunctionName, tally: &Arc<CallTally>) {
        let mut state = self.lock();
        let State { functions, removed, .. } = &mut *state;
        let closed = [functions, removed].into_iter().filter_map(|all| all.get_mut(name));
        // It belongs to one of the two.
        closed.map(|counted| counted.close(tally)).find(|closed| *closed);
    }

    /// Adds counts that no tally has.
    pub(crate) fn add(&self, name: &FunctionName, counts: &CallCounts) {
        if !counts.is_empty() {
            self.lock().functions.entry(name.clone()).or_default().total += counts;
        }
    }

    /// Sets the counts of a function that was removed aside. Another one may get its name.
    pub(crate) fn remove(&self, name: &FunctionName) {
        self.lock().remove(name);
    }

    /// Returns the counts of these functions.
    pub(crate) fn of_functions(&self, names: &BTreeSet<&FunctionName>) -> BTreeMap<FunctionName, CallCounts> {
        let functions = self.lock().functions.clone();
        let functions = functions.into_iter().filter(|(name, _)| names.contains(name));
        functions.map(|(name, counted)| (name, counted.counts())).collect()
    }

    /// Returns the counts of a function.
    pub(crate) fn of(&self, name: &FunctionName) -> CallCounts {
        let counted = self.lock().functions.get(name).cloned();
        counted.map(|counted| counted.counts()).unwrap_or_default()
    }

    /// Returns the counts of the functions that had calls, and of all together.
    pub(crate) fn report(&self) -> CallReport {
        let State { functions, removed, rest: mut all } = self.snapshot();
        removed.values().for_each(|counted| all += &counted.counts());
        let functions = functions.into_iter().map(|(name, counted)| (name, counted.counts()));
        let functions: BTreeMap<_, _> = functions.filter(|(_, counts)| !counts.is_empty()).collect();
        functions.values().for_each(|counts| all += counts);
        CallReport { functions, all }
    }

    /// Returns all counts.
    pub(crate) fn all(&self) -> CountsByFunction {
        let State { functions, removed, rest } = self.snapshot();
        let mut all = CountsByFunction { functions: BTreeMap::new(), rest };
        for (name, counted) in functions.into_iter().chain(removed) {
            *all.functions.entry(name).or_default() += &counted.counts();
        }
        all
    }

    /// Returns what each function has: its total, and tallies that go on being kept. Each count is
    /// either in a total or in a tally, also if the tally is closed meanwhile.
    fn snapshot(&self) -> State {
        self.lock().clone()
    }

    /// Adds the counts of removed functions to the rest, unless `keep` wants to see them by name.
    pub(crate) fn forget(&self, keep: impl Fn(&FunctionName) -> bool) {
        let mut state = self.lock();
        let State { removed, rest, .. } = &mut *state;
        removed.retain(|name, counted| {
            if keep(name) || !counted.open.is_empty() {
                return true;
            }
            *rest += &counted.total;
            false
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, name: &FunctionName) {
        if let Some(counted) = self.functions.remove(name) {
            self.removed.entry(name.clone()).or_default().add(counted);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::call::tally::Count;

    fn name(name: &str) -> FunctionName {
        name.parse().unwrap()
    }

    fn hits(counts: &CallCounts) -> u64 {
        counts[Count::MemoryHits]
    }

    /// Every step moves counts, and no step changes their sum.
    #[test]
    fn counts_move_and_are_never_lost() {
        let (tallies, name) = (Tallies::default(), name("moves"));
        let all = |expected: u64| {
            let CountsByFunction { functions, rest } = tallies.all();
            assert_eq!(functions.values().map(hits).sum::<u64>() + hits(&rest), expected);
        };
        let (first, second) = (tallies.open(&name), tallies.open(&name));
        first.hit(Duration::ZERO, false);
        second.hit(Duration::ZERO, false);
        all(2);
        tallies.close(&name, &first);
        all(2);
        tallies.remove(&name);
        all(2);
        // Calls of the removed function are still in flight, and another one has its name.
        let third = tallies.open(&name);
        third.hit(Duration::ZERO, false);
        second.hit(Duration::ZERO, false);
        all(4);
        assert_eq!(hits(&tallies.of_functions(&BTreeSet::from([&name]))[&name]), 1);
        tallies.forget(|_| false);
        all(4);
        tallies.close(&name, &second);
        all(4);
        tallies.forget(|_| true);
        assert_eq!(hits(&tallies.all().rest), 0);
        tallies.forget(|_| false);
        assert_eq!(hits(&tallies.all().rest), 3);
        assert!(tallies.of_functions(&BTreeSet::new()).is_empty());
        all(4);
    }

    /// A report has the functions that are deployed, and all calls, whatever became of their functions.
    #[test]
    fn a_report_has_the_functions_that_were_called_and_all_calls() {
        let tallies = Tallies::default();
        let [called, opened, removed] = ["called", "opened", "removed"].map(name);
        let tally = |name| {
            let tally = tallies.open(name);
            tally.hit(Duration::ZERO, false);
            tally
        };
        let _idle = tallies.open(&opened);
        let (_open, closed) = (tally(&called), tally(&called));
        tallies.close(&called, &closed);
        let _of_removed = tally(&removed);
        tallies.remove(&removed);
        for _ in 0..2 {
            let CallReport { functions, all } = tallies.report();
            let shown: Vec<_> =
                functions.iter().map(|(name, counts)| (name.as_str(), hits(counts))).collect();
            assert_eq!((shown.as_slice(), hits(&all)), ([("called", 2)].as_slice(), 3));
            assert_eq!((hits(&tallies.of(&called)), hits(&tallies.of(&opened))), (2, 0));
            assert_eq!(hits(&tallies.of(&removed)), 0);
            tallies.forget(|_| false);
        }
        // The new function doesn't begin with the counts of the old one.
        let _new = tally(&removed);
        assert_eq!((hits(&tallies.report().functions[&removed]), hits(&tallies.report().all)), (1, 4));
    }
}
