//! The functions whose counts are shown under their own names: a bounded number, chosen by traffic.
//! All others are shown as one sum.
//!
//! ```text
//! unseen --(a place is free)--> has a place <--(traffic, and a place is free)-- in the sum
//!                                   \------(idle, and another has traffic)-----> in the sum
//! ```
//!
//! A reader takes a counter that falls for a restart, so no counter falls:
//!
//! * A function with a place shows its calls since it got the place. It has shown nothing before,
//!   so a function that was never in the sum shows all its calls.
//! * The sum is everything, without what was ever shown under a name. When a function loses its
//!   place, its series ends, and the sum doesn't gain what the series had.
//!
//! Invariants:
//! * The functions shown, the sum and the ended series together have every call once.
//! * At most `places_max` functions have a place.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use nebula_model::id::FunctionName;

use crate::call::tally::CallCounts;
use crate::tallies::CountsByFunction;

/// A function keeps its place for at least this long after its last call.
const PLACE_KEPT: Duration = Duration::from_secs(3600);

/// The functions that have places.
#[derive(Debug)]
pub struct FunctionSeries {
    places_max: usize,
    places: BTreeMap<FunctionName, Place>,
    /// Functions in the sum, with their calls at the last update.
    summed: HashMap<FunctionName, u64>,
    /// Counts of series that have ended.
    ended: CallCounts,
}

#[derive(Debug)]
struct Place {
    /// The part of the function's counts that is in the sum.
    baseline: CallCounts,
    /// Its calls at the last update.
    calls: u64,
    /// The last update at which it had calls.
    active_at: Instant,
}

/// The counts to show.
#[derive(Clone, Debug, Default)]
pub struct ShownCounts {
    /// Functions with a place, by name.
    pub functions: Vec<(FunctionName, CallCounts)>,
    /// All other functions together.
    pub others: CallCounts,
    /// All calls of all functions.
    pub all: CallCounts,
}

/// A function without a place that may get one.
struct Candidate<'a> {
    name: &'a FunctionName,
    counts: &'a CallCounts,
    /// Calls since the last update.
    traffic: u64,
}

impl FunctionSeries {
    /// Shows at most `places_max` functions under their names.
    pub fn new(places_max: usize) -> Self {
        Self { places_max, places: BTreeMap::new(), summed: HashMap::new(), ended: CallCounts::default() }
    }

    /// Returns whether a function is shown under its name.
    pub fn has_place(&self, name: &FunctionName) -> bool {
        self.places.contains_key(name)
    }

    /// Assigns places by the traffic since the last update, and returns the counts to show.
    pub(crate) fn update(&mut self, counts: &CountsByFunction, now: Instant) -> ShownCounts {
        let none = CallCounts::default();
        let of = |name: &FunctionName| counts.functions.get(name).unwrap_or(&none);
        for (name, place) in &mut self.places {
            let calls = of(name).calls();
            if std::mem::replace(&mut place.calls, calls) != calls {
                place.active_at = now;
            }
        }
        for Candidate { name, counts: total, traffic } in self.candidates(counts) {
            let is_free = self.places.len() < self.places_max;
            if !is_free && (traffic == 0 || !self.end_idlest(of, now)) {
                break;
            }
            let baseline = if self.summed.remove(name).is_some() { total.clone() } else { none.clone() };
            self.places.insert(name.clone(), Place { baseline, calls: total.calls(), active_at: now });
        }
        self.summed.retain(|name, _| counts.functions.contains_key(name));
        for (name, counts) in &counts.functions {
            if !counts.is_empty() && !self.places.contains_key(name) {
                self.summed.insert(name.clone(), counts.calls());
            }
        }
        let mut all = counts.rest.clone();
        counts.functions.values().for_each(|counts| all += counts);
        let mut others = all.clone();
        others -= &self.ended;
        let functions = self.places.iter().map(|(name, place)| {
            let own = place.shown(of(name));
            others -= &own;
            (name.clone(), own)
        });
        ShownCounts { functions: functions.collect(), others, all }
    }

    /// Returns the functions without a place that have traffic, busiest first. A new function is one
    /// of them before its first call has ended: its calls must not begin in the sum if a place is free.
    fn candidates<'a>(&self, counts: &'a CountsByFunction) -> Vec<Candidate<'a>> {
        let without_place = counts.functions.iter().filter(|(name, _)| !self.places.contains_key(*name));
        let candidate = |(name, counts): (&'a FunctionName, &'a CallCounts)| {
            let before = self.summed.get(name).copied().unwrap_or_default();
            Candidate { name, counts, traffic: counts.calls().saturating_sub(before) }
        };
        let is_new = |it: &Candidate<'_>| !it.counts.is_empty() && !self.summed.contains_key(it.name);
        let candidates = without_place.map(candidate).filter(|it| it.traffic > 0 || is_new(it));
        let mut candidates: Vec<_> = candidates.collect();
        candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.traffic));
        candidates
    }

    /// Ends the series of the function that was idle for longest, if one was idle for long enough.
    fn end_idlest<'a>(&mut self, of: impl Fn(&FunctionName) -> &'a CallCounts, now: Instant) -> bool {
        let idlest = self.places.iter().min_by_key(|(_, place)| place.active_at);
        let idlest = idlest.filter(|(_, place)| now.saturating_duration_since(place.active_at) >= PLACE_KEPT);
        let Some(name) = idlest.map(|(name, _)| name.clone()) else { return false };
        if let Some(place) = self.places.remove(&name) {
            self.ended += &place.shown(of(&name));
            self.summed.insert(name, place.calls);
        }
        true
    }
}

impl Place {
    /// Returns the part of the function's counts that is shown under its name.
    fn shown(&self, total: &CallCounts) -> CallCounts {
        let mut own = total.clone();
        own -= &self.baseline;
        own
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nebula_model::answer::{Answer, Content};
    use proptest::prelude::*;

    use super::*;
    use crate::call::tally::{CallTally, Count};
    use crate::error::{CallError, ErrorCode};
    use crate::tallies::Tallies;

    const FUNCTIONS: usize = 6;

    /// An event on a host.
    #[derive(Clone, Debug)]
    enum Event {
        Call {
            function: usize,
            fails: bool,
        },
        /// A serving thread drops its routes.
        DropRoutes,
        Remove {
            function: usize,
        },
        /// The cache is reported, and finds only `f0` deployed.
        Report,
        Scrape {
            minutes: u64,
        },
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            8 => (0..FUNCTIONS, any::<bool>()).prop_map(|(function, fails)| Event::Call { function, fails }),
            1 => Just(Event::DropRoutes),
            1 => (0..FUNCTIONS).prop_map(|function| Event::Remove { function }),
            1 => Just(Event::Report),
            4 => (0..90_u64).prop_map(|minutes| Event::Scrape { minutes }),
        ];
        prop::collection::vec(event, 0..120)
    }

    fn name(function: usize) -> FunctionName {
        format!("f{function}").parse().unwrap()
    }

    /// One host with one serving thread, scraped through a bounded number of series.
    struct Host {
        tallies: Tallies,
        routes: BTreeMap<FunctionName, Arc<CallTally>>,
        series: FunctionSeries,
        now: Instant,
        calls: u64,
        errors: u64,
        shown: BTreeMap<Option<FunctionName>, CallCounts>,
        /// Calls of series that have ended.
        ended: u64,
    }

    impl Host {
        fn new(places_max: usize) -> Self {
            Self {
                tallies: Tallies::default(),
                routes: BTreeMap::new(),
                series: FunctionSeries::new(places_max),
                now: Instant::now(),
                calls: 0,
                errors: 0,
                shown: BTreeMap::new(),
                ended: 0,
            }
        }

        fn apply(&mut self, event: &Event) {
            match event {
                Event::Call { function, fails } => {
                    let name = name(*function);
                    let open = || self.tallies.open(&name);
                    let tally = self.routes.entry(name.clone()).or_insert_with(open);
                    let value = Answer::Value(Content::json(b"1".to_vec()));
                    let failed = CallError::UnsupportedInput("");
                    tally.answered(if *fails { Err(&failed) } else { Ok(&value) }, 1);
                    self.calls += 1;
                    self.errors += u64::from(*fails);
                }
                Event::DropRoutes => {
                    for (name, tally) in std::mem::take(&mut self.routes) {
                        self.tallies.close(&name, &tally);
                    }
                }
                Event::Remove { function } => self.tallies.remove(&name(*function)),
                Event::Report => drop(self.tallies.of_functions(&[&name(0)].into())),
                Event::Scrape { minutes } => {
                    self.now += Duration::from_secs(minutes * 60);
                    self.scrape();
                }
            }
        }

        /// Updates the series and checks what they show.
        fn scrape(&mut self) {
            let ShownCounts { functions, others, all } = self.series.update(&self.tallies.all(), self.now);
            let has_place = |name: &FunctionName| self.series.has_place(name);
            self.tallies.forget(has_place);
            assert!(functions.len() <= self.series.places_max);
            let names = functions.into_iter().map(|(name, counts)| (Some(name), counts));
            let shown: BTreeMap<_, _> = names.chain([(None, others)]).collect();
            for (series, before) in &self.shown {
                match shown.get(series) {
                    Some(now) => {
                        for count in Count::ALL {
                            assert!(now[*count] >= before[*count], "{series:?} {count:?} fell");
                        }
                        assert!(
                            now.errors(ErrorCode::MethodNotAllowed)
                                >= before.errors(ErrorCode::MethodNotAllowed)
                        );
                    }
                    None => self.ended += before.calls(),
                }
            }
            let sum: u64 = shown.values().map(CallCounts::calls).sum();
            assert_eq!((sum + self.ended, all.calls()), (self.calls, self.calls));
            assert_eq!(all.errors(ErrorCode::MethodNotAllowed), self.errors);
            self.shown = shown;
        }
    }

    proptest! {
        /// No counter falls while its series lasts, and every call is in exactly one series.
        #[test]
        fn no_counter_falls_and_no_call_is_lost(places_max in 0..4_usize, events in events()) {
            let mut host = Host::new(places_max);
            for event in &events {
                host.apply(event);
            }
            host.scrape();
        }
    }

    fn call(host: &mut Host, function: usize, times: usize) {
        for _ in 0..times {
            host.apply(&Event::Call { function, fails: false });
        }
    }

    fn shown(host: &Host) -> Vec<(&str, u64)> {
        let mut shown = Vec::new();
        for (name, counts) in &host.shown {
            shown.push((name.as_ref().map_or("others", FunctionName::as_str), counts.calls()));
        }
        shown
    }

    #[test]
    fn the_busiest_functions_have_places_and_idle_ones_lose_them() {
        let mut host = Host::new(2);
        call(&mut host, 1, 5);
        call(&mut host, 2, 1);
        call(&mut host, 3, 3);
        host.scrape();
        assert_eq!(shown(&host), [("others", 1), ("f1", 5), ("f3", 3)]);
        // A function with a place keeps it, however busy another one is.
        call(&mut host, 2, 50);
        host.now += PLACE_KEPT / 2;
        host.scrape();
        assert_eq!(shown(&host), [("others", 51), ("f1", 5), ("f3", 3)]);
        // An idle one keeps it, too, while no other function needs it.
        call(&mut host, 1, 1);
        host.now += PLACE_KEPT;
        host.scrape();
        assert_eq!(shown(&host), [("others", 51), ("f1", 6), ("f3", 3)]);
        call(&mut host, 2, 7);
        host.scrape();
        assert_eq!(shown(&host), [("others", 58), ("f1", 6), ("f2", 0)]);
        call(&mut host, 2, 4);
        call(&mut host, 3, 1);
        host.scrape();
        assert_eq!(shown(&host), [("others", 59), ("f1", 6), ("f2", 4)]);
    }

    /// A scrape while the first call of a function is in flight finds its cold start, and no call.
    #[test]
    fn a_function_has_a_place_before_its_first_call_ends() {
        let mut host = Host::new(1);
        let tally = host.tallies.open(&name(1));
        tally.cold_start(Duration::from_millis(1));
        host.scrape();
        assert_eq!(shown(&host), [("others", 0), ("f1", 0)]);
        host.routes.insert(name(1), tally);
        call(&mut host, 1, 2);
        host.scrape();
        assert_eq!(shown(&host), [("others", 0), ("f1", 2)]);
    }
}
