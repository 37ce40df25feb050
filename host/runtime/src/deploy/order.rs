//! The order of a change: each name comes after those that it depends on.

use std::collections::{BTreeMap, BTreeSet};

/// Names of functions or of their versions, each with those that it depends on.
#[derive(Debug)]
pub(super) struct Dependencies<N>(BTreeMap<N, BTreeSet<N>>);

/// Names that depend on each other: the first on the first of the others, each on the next, and the
/// last on the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cycle<N> {
    first: N,
    others: Vec<N>,
}

impl<N> Default for Dependencies<N> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<N: Clone + Ord> Dependencies<N> {
    /// Adds a name. What it depends on need not be added: it is ready then.
    pub(super) fn add(&mut self, name: N, on: impl IntoIterator<Item = N>) {
        self.0.entry(name).or_default().extend(on);
    }

    /// Returns the added names so that each comes after those that it depends on, in alphabetical
    /// order as far as possible.
    ///
    /// # Errors
    /// A [`Cycle`], if there is one.
    pub(super) fn order(&self) -> Result<Vec<&N>, Cycle<N>> {
        let (mut ordered, mut done) = (Vec::with_capacity(self.0.len()), BTreeSet::new());
        for (start, on) in &self.0 {
            if done.contains(start) {
                continue;
            }
            // The way to the name that is examined, each with its dependencies that aren't examined
            // yet. A stack, so that a long way causes no deep recursion.
            let mut way = vec![(start, on.iter())];
            // The names on the way, so that it is searched only if it closes a cycle.
            let mut on_way = BTreeSet::from([start]);
            while let Some((name, rest)) = way.last_mut() {
                let name = *name;
                let Some(next) = rest.next() else {
                    done.insert(name);
                    ordered.push(name);
                    on_way.remove(name);
                    way.pop();
                    continue;
                };
                let Some((next, on)) = self.0.get_key_value(next).filter(|_| !done.contains(next)) else {
                    continue;
                };
                if !on_way.insert(next)
                    && let Some(at) = way.iter().position(|(earlier, _)| *earlier == next)
                {
                    let others = way[at + 1..].iter().map(|(name, _)| (*name).clone()).collect();
                    return Err(Cycle { first: next.clone(), others });
                }
                way.push((next, on.iter()));
            }
        }
        Ok(ordered)
    }
}

impl<N: Clone> Cycle<N> {
    /// Returns one of the names.
    pub(super) fn first(&self) -> &N {
        &self.first
    }

    /// Returns the names of the cycle. The first name, which is also the last, is one for which
    /// `is_start` holds, if there is one.
    pub(super) fn from(self, is_start: impl Fn(&N) -> bool) -> Vec<N> {
        let mut names = vec![self.first];
        names.extend(self.others);
        let start = names.iter().position(is_start).unwrap_or(0);
        names.rotate_left(start);
        names.extend(names.first().cloned());
        names
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::cmp::Ordering;

    use nebula_model::id::FunctionName;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn name(number: usize) -> FunctionName {
        format!("n{number}").parse().unwrap()
    }

    fn dependencies(edges: &[(usize, usize)]) -> Dependencies<FunctionName> {
        let mut dependencies = Dependencies::default();
        for (from, to) in edges {
            dependencies.add(name(*from), [name(*to)]);
        }
        dependencies
    }

    fn texts(names: &[FunctionName]) -> Vec<&str> {
        names.iter().map(FunctionName::as_str).collect()
    }

    proptest! {
        /// The order is right, or the cycle is one of the dependencies.
        #[test]
        fn every_name_comes_once_and_after_its_dependencies(edges in vec((0..9_usize, 0..9_usize), 0..16)) {
            let dependencies = dependencies(&edges);
            match dependencies.order() {
                Ok(ordered) => {
                    prop_assert_eq!(ordered.len(), dependencies.0.len());
                    let at = |wanted: &FunctionName| ordered.iter().position(|name| *name == wanted);
                    for (name, on) in &dependencies.0 {
                        prop_assert!(at(name).is_some());
                        for on in on.iter().filter(|on| dependencies.0.contains_key(on)) {
                            prop_assert!(at(on) < at(name), "{name} comes before {on}");
                        }
                    }
                }
                Err(cycle) => {
                    let names = cycle.from(|_| false);
                    prop_assert!(names.len() > 1);
                    prop_assert_eq!(names.first(), names.last());
                    for pair in names.windows(2) {
                        prop_assert!(dependencies.0[&pair[0]].contains(&pair[1]), "{names:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_cycle_begins_where_it_is_asked_to() {
        let cycle = dependencies(&[(1, 2), (2, 3), (3, 1), (3, 4), (0, 1)]).order().unwrap_err();
        assert_eq!(texts(&cycle.clone().from(|it| *it == name(3))), ["n3", "n1", "n2", "n3"]);
        assert_eq!(texts(&cycle.from(|it| *it == name(0))), ["n1", "n2", "n3", "n1"]);
        let own = dependencies(&[(5, 5)]).order().unwrap_err();
        assert_eq!(texts(&own.from(|_| true)), ["n5", "n5"]);
    }

    /// A name that counts how often names are compared.
    #[derive(Clone, Debug)]
    struct Counted(u32);

    thread_local! {
        static COMPARED: Cell<u64> = const { Cell::new(0) };
    }

    impl Ord for Counted {
        fn cmp(&self, other: &Self) -> Ordering {
            COMPARED.set(COMPARED.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Counted {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl PartialEq for Counted {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other).is_eq()
        }
    }

    impl Eq for Counted {}

    /// The work doesn't grow with the square of the way's length.
    #[test]
    fn a_long_way_is_ordered() {
        const NAMES: u32 = 20_000;
        let mut dependencies = Dependencies::default();
        for number in 0..NAMES {
            dependencies.add(Counted(number), [Counted(number + 1)]);
        }
        COMPARED.set(0);
        let ordered = dependencies.order().unwrap();
        let compared = COMPARED.get() / u64::from(NAMES);
        assert!(compared < 400, "{compared} for each name");
        assert!(ordered.iter().map(|name| name.0).eq((0..NAMES).rev()));
    }
}
