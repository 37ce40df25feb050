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

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nebula_model::id::FunctionName;

use crate::call::tally::{CallCounts, CallTally};

/// The tallies of one host.
#[derive(Debug, Default)]
pub(crate) struct Tallies(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    functions: BTreeMap<FunctionName, Counted>,
    /// Functions that were removed, until [`Tallies::forget`].
    removed: BTreeMap<FunctionName, Counted>,
    rest: CallCounts,
}

/// The calls of one function.
#[derive(Debug, Default)]
struct Counted {
    total: CallCounts,
    /// Tallies that are being kept.
    open: Vec<Arc<CallTally>>,
}

/// Counts of calls since the host started.
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

    /// Returns the counts of these functions, and sets those of all others aside.
    pub(crate) fn of_functions(&self, names: &BTreeSet<&FunctionName>) -> BTreeMap<FunctionName, CallCounts> {
        let mut state = self.lock();
        let gone: Vec<_> = state.functions.keys().filter(|name| !names.contains(name)).cloned().collect();
        gone.iter().for_each(|name| state.remove(name));
        state.functions.iter().map(|(name, counted)| (name.clone(), counted.counts())).collect()
    }

    /// Returns all counts.
    pub(crate) fn all(&self) -> CountsByFunction {
        let State { functions, removed, rest } = &*self.lock();
        let mut all = CountsByFunction { functions: BTreeMap::new(), rest: rest.clone() };
        for (name, counted) in functions.iter().chain(removed) {
            *all.functions.entry(name.clone()).or_default() += &counted.counts();
        }
        all
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
}
