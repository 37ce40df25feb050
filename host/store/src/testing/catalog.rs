//! The contract of [`Catalog`], as tests.

#![expect(missing_docs, reason = "each name states the behaviour")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use nebula_model::id::{Digest, FunctionName, Version};

use super::{disagreement, importing_version, pipeline_version, routed_version, version};
use crate::catalog::record::NO_RECORD;
use crate::catalog::{AppendError, Catalog, Change, LogRecord, RawChange, Sequence};

/// One catalog of the implementation under test.
pub trait Fixture: Sized {
    /// Returns an empty catalog.
    fn new() -> Self;

    /// Returns the catalog.
    fn catalog(&self) -> Arc<dyn Catalog>;

    /// Closes the catalog and opens it again, as a restarted process would. Returns `None` if the
    /// implementation keeps nothing.
    fn restart(self) -> Option<Self>;
}

/// Runs the conformance tests of [`Catalog`](crate::catalog::Catalog) on a
/// [`Fixture`](crate::testing::catalog::Fixture), one `#[test]` each.
#[macro_export]
macro_rules! catalog_conformance {
    ($fixture:ty) => {
        $crate::catalog_conformance!($fixture:
            a_new_catalog_is_empty,
            appends_are_numbered_in_order,
            an_append_at_another_base_conflicts_and_changes_nothing,
            one_of_several_appends_at_a_base_succeeds,
            changes_of_one_append_are_seen_together,
            publishing_makes_a_version_current,
            setting_current_keeps_the_other_versions,
            a_function_moves_in_with_the_numbers_that_it_had,
            changes_of_missing_things_have_no_effect,
            removal_removes_all_of_a_function,
            names_are_listed_by_their_beginning,
            pipelines_importers_and_routed_names_are_listed_until_removed,
            a_component_is_distrusted_until_trusted,
            an_unknown_change_is_passed_on_and_has_no_effect,
            following_returns_an_unbroken_chain,
            following_waits_for_an_append,
            following_ends_at_the_deadline,
            an_append_after_its_deadline_changes_nothing,
            the_log_alone_determines_the_view,
            a_restart_keeps_what_was_acknowledged,
        );
    };
    ($fixture:ty: $($test:ident),* $(,)?) => {
        $(
            #[test]
            fn $test() {
                $crate::testing::catalog::$test::<$fixture>();
            }
        )*
    };
}

/// Longer than any operation takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

fn name(text: &str) -> FunctionName {
    text.parse().unwrap()
}

fn publish(name: &str, number: u32) -> Change {
    Change::Publish(Box::new(version(name, number)))
}

fn set_current(text: &str, number: u32) -> Change {
    Change::SetCurrent { name: name(text), version: Version::new(number).unwrap() }
}

/// Appends at the end.
fn append(catalog: &dyn Catalog, changes: &[Change]) -> Sequence {
    catalog.append(catalog.applied(), changes, soon()).unwrap()
}

/// Returns the whole log.
fn log(catalog: &dyn Catalog) -> Vec<LogRecord> {
    let mut log: Vec<LogRecord> = Vec::new();
    loop {
        let from = log.last().map_or(Sequence::START, LogRecord::sequence);
        if from == catalog.last(soon()).unwrap() {
            return log;
        }
        log.extend(catalog.follow(from, soon()).unwrap());
    }
}

/// Everything that a catalog's view shows of these names.
#[derive(Debug, PartialEq)]
struct View(Vec<String>);

fn view(catalog: &dyn Catalog, names: &[FunctionName]) -> View {
    let mut disagreements: Vec<_> = catalog.disagreements().unwrap().into_iter().collect();
    disagreements.sort_by_key(|(component, _)| *component);
    let mut digests: Vec<_> = catalog.digests().unwrap().into_iter().collect();
    digests.sort();
    let mut view = vec![
        format!("{:?}", catalog.list().unwrap()),
        format!("{:?}", catalog.pipelines().unwrap()),
        format!("{:?}", catalog.importers().unwrap()),
        format!("{:?}", catalog.routed().unwrap()),
        format!("{disagreements:?}"),
        format!("{digests:?}"),
    ];
    for name in names {
        view.push(format!("{:?}", catalog.current(name).unwrap()));
        view.push(format!("{:?}", catalog.latest(name).unwrap()));
        view.push(format!("{:?}", catalog.versions(name).unwrap()));
    }
    View(view)
}

pub fn a_new_catalog_is_empty<F: Fixture>() {
    let fixture = F::new();
    let catalog = fixture.catalog();
    assert_eq!(catalog.applied(), Sequence::START);
    assert_eq!(catalog.last(soon()).unwrap(), Sequence::START);
    assert!(catalog.follow(Sequence::START, Instant::now()).unwrap().is_empty());
    assert!(catalog.list().unwrap().is_empty());
    assert!(catalog.digests().unwrap().is_empty());
    assert!(catalog.pipelines().unwrap().is_empty());
    assert!(catalog.importers().unwrap().is_empty());
    assert!(catalog.routed().unwrap().is_empty());
    assert!(catalog.disagreements().unwrap().is_empty());
    assert_eq!(catalog.current(&name("f")).unwrap(), None);
    assert_eq!(catalog.latest(&name("f")).unwrap(), None);
    assert_eq!(catalog.version(&name("f"), Version::FIRST).unwrap(), None);
    assert!(catalog.versions(&name("f")).unwrap().is_empty());
}

pub fn appends_are_numbered_in_order<F: Fixture>() {
    let fixture = F::new();
    let catalog = fixture.catalog();
    for number in 1..=3 {
        assert_eq!(append(&*catalog, &[publish("f", number)]).number(), u64::from(number));
        assert_eq!(catalog.applied().number(), u64::from(number));
        assert_eq!(catalog.last(soon()).unwrap().number(), u64::from(number));
    }
}

pub fn an_append_at_another_base_conflicts_and_changes_nothing<F: Fixture>() {
    let fixture = F::new();
    let catalog = fixture.catalog();
    let first = append(&*catalog, &[publish("f", 1)]);
    let before = view(&*catalog, &[name("f"), name("g")]);
    for base in [Sequence::START, first.next()] {
        let refused = catalog.append(base, &[publish("g", 1)], soon());
        assert!(matches!(refused, Err(AppendError::Conflict { last }) if last == first), "{refused:?}");
    }
    assert_eq!(view(&*catalog, &[name("f"), name("g")]), before);
    assert_eq!(log(&*catalog).len(), 1);
    assert_eq!(catalog.append(first, &[publish("g", 1)], soon()).unwrap(), first.next());
}

pub fn one_of_several_appends_at_a_base_succeeds<F: Fixture>() {
    const THREADS: u32 = 4;
    const ROUNDS: u64 = 5;
    let fixture = F::new();
    let catalog = fixture.catalog();
    for round in 1..=ROUNDS {
        let base = catalog.applied();
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let race = |index| {
                let catalog = Arc::clone(&catalog);
                move || catalog.append(base, &[publish(&format!("f{index}"), 1)], soon())
            };
            let threads: Vec<_> = (0..THREADS).map(|index| scope.spawn(race(index))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        assert_eq!(catalog.last(soon()).unwrap().number(), round);
    }
    assert_eq!(log(&*catalog).len() as u64, ROUNDS);
}

pub fn changes_of_one_append_are_seen_together<F: Fixture>() {
    const ROUNDS: u32 = 20;
    let fixture = F::new();
    let catalog = fixture.catalog();
    std::thread::scope(|scope| {
        let reader = Arc::clone(&catalog);
        let reading = scope.spawn(move || {
            loop {
                let list = reader.list().unwrap();
                let versions: Vec<_> = list.iter().map(|record| record.version.number()).collect();
                assert!(versions.is_empty() || versions == [versions[0]; 2], "{versions:?}");
                if versions == [ROUNDS; 2] {
                    break;
                }
            }
        });
        for number in 1..=ROUNDS {
            append(&*catalog, &[publish("a", number), publish("b", number)]);
        }
        reading.join().unwrap();
    });
    assert_eq!(log(&*catalog).len() as u32, ROUNDS, "one record for each append");
}

pub fn publishing_makes_a_version_current<F: Fixture>() {
    let fixture = F::new();
    let catalog = fixture.catalog();
    for number in 1..=2 {
        append(&*catalog, &[publish("f", number), publish("a", number)]);
        assert_eq!(catalog.current(&name("f")).unwrap(), Some(version("f", number)));
    }
    assert_eq!(catalog.versions(&name("f")).unwrap(), [version("f", 1), version("f", 2)]);
    assert_eq!(catalog.latest(&name("f")).unwrap(), Version::new(2));
    assert_eq!(catalog.version(&name("f"), Version::FIRST).unwrap(), Some(version("f", 1)));
    assert_eq!(catalog.version(&name("f"), Version::new(3).unwrap()).unwrap(), None);
    assert_eq!(catalog.list().unwrap(), [version("a", 2), version("f", 2)], "ordered by name");
    let of = |name, number| version(name, number).digest;
    let digests = [of("f", 1), of("f", 2), of("a", 1), of("a", 2)];
    assert_eq!(catalog.digests().unwrap(), digests.into());
}

pub fn setting_current_keeps_the_other_versions<F: Fixture>() {
    let fixture = F::new();
    let catalog = fixture.catalog();
    append(&*catalog, &[publish("f", 1), publish("f", 2), set_current("f", 1)]);
    assert_eq!(catalog.current(&name("f")).unwrap(), Some(version("f", 1)));
    assert_eq!(catalog.list().unwrap(), [version("f", 1)]);
    assert_eq!(catalog.latest(&name("f")).unwrap(), Version::new(2));
    assert_eq!(catalog.versions(&name("f")).unwrap().len(), 2);
}

/// One append adds a function with numbers that have gaps and with an earlier version current. Later
/// versions continue after its highest number.
pub fn a_function_moves_in_with_the_numbers_that_it_had<F: Fixture>() {
    let fixture = F::new();
    let catalog = fixture.catalog();
    let others = [publish("g", 7), publish("g", 9)];
    append(&*catalog, &[&[publish("f", 2), publish("f", 5), set_current("f", 2)][..], &others].concat());
    assert_eq!(log(&*catalog).len(), 1);
    assert_eq!(catalog.list().unwrap(), [version("f", 2), version("g", 9)]);
    assert_eq!(catalog.versions(&name("f")).unwrap(), [version("f", 2), version("f", 5)]);
    assert_eq!(catalog.version(&name("f"), Version::FIRST).unwrap(), None);
    assert_eq!(catalog.latest(&name("f")).unwrap(), Version::new(5));
    append(&*catalog, &[publish("f", 6)]);
    assert_eq!(catalog.current(&name("f")).unwrap(), Some(version("f", 6)));
}

pub fn changes_of_missing_things_have_no_effect<F: Fixture>() {
    let fixture = F::new();
    let catalog = fixture.catalog();
    append(&*catalog, &[publish("f", 1)]);
    let before = view(&*catalog, &[name("f"), name("g")]);
    let component = version("f", 1).digest;
    let changes =
        [set_current("f", 2), set_current("g", 1), Change::Remove(name("g")), Change::Trust(component)];
    append(&*catalog, &changes);
    assert_eq!(view(&*catalog, &[name("f"), name("g")]), before);
}

pub fn removal_removes_all_of_a_function<F: Fixture>() {
    let fixture = F::new();
    let catalog = fixture.catalog();
    append(&*catalog, &[publish("f", 1), publish("f", 2), publish("f-2", 1)]);
    append(&*catalog, &[Change::Remove(name("f"))]);
    assert_eq!(catalog.current(&name("f")).unwrap(), None);
    assert_eq!(catalog.latest(&name("f")).unwrap(), None);
    assert!(catalog.versions(&name("f")).unwrap().is_empty());
    assert_eq!(catalog.list().unwrap(), [version("f-2", 1)]);
    assert_eq!(catalog.digests().unwrap(), [version("f-2", 1).digest].into());
}

pub fn names_are_listed_by_their_beginning<F: Fixture>() {
    let fixture = F::new();
    let catalog = fixture.catalog();
    assert!(catalog.names("", 9).unwrap().is_empty());
    append(&*catalog, &["b", "ab", "a", "abc", "ac"].map(|name| publish(name, 1)));
    append(&*catalog, &[publish("ab", 2), Change::Remove(name("abc"))]);
    let names = |prefix: &str, count: usize| {
        let names = catalog.names(prefix, count).unwrap();
        names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("", 9), "a ab ac b");
    assert_eq!(names("a", 9), "a ab ac");
    assert_eq!(names("a", 2), "a ab");
    assert_eq!(names("ab", 9), "ab");
    assert_eq!(names("c", 9), "");
    assert_eq!(names("a", 0), "");
}

pub fn pipelines_importers_and_routed_names_are_listed_until_removed<F: Fixture>() {
    let fixture = F::new();
    let catalog = fixture.catalog();
    append(
        &*catalog,
        &[
            Change::Publish(Box::new(pipeline_version("p", 1))),
            Change::Publish(Box::new(importing_version("i", 1))),
            Change::Publish(Box::new(routed_version("r", 1))),
            publish("f", 1),
        ],
    );
    assert_eq!(catalog.current(&name("p")).unwrap(), Some(pipeline_version("p", 1)));
    // A later version of another kind doesn't unlist the name: the earlier one can be called.
    append(&*catalog, &[publish("p", 2), publish("i", 2), publish("r", 2)]);
    assert_eq!(catalog.pipelines().unwrap(), [name("p")]);
    assert_eq!(catalog.importers().unwrap(), [name("i")]);
    assert_eq!(catalog.routed().unwrap(), [name("r")]);
    append(&*catalog, &["p", "i", "r"].map(|removed| Change::Remove(name(removed))));
    assert!(catalog.pipelines().unwrap().is_empty());
    assert!(catalog.importers().unwrap().is_empty());
    assert!(catalog.routed().unwrap().is_empty());
}

pub fn a_component_is_distrusted_until_trusted<F: Fixture>() {
    let fixture = F::new();
    let catalog = fixture.catalog();
    let components = [Digest::of(b"one"), Digest::of(b"two")];
    append(&*catalog, &components.map(|component| Change::Distrust(disagreement(component))));
    let found = catalog.disagreements().unwrap();
    assert_eq!(found, components.map(|component| (component, disagreement(component))).into());
    append(&*catalog, &[Change::Trust(components[0])]);
    assert_eq!(catalog.disagreements().unwrap().into_keys().collect::<Vec<_>>(), [components[1]]);
}

pub fn an_unknown_change_is_passed_on_and_has_no_effect<F: Fixture>() {
    let fixture = F::new();
    let catalog = fixture.catalog();
    let unknown = Change::Unknown(RawChange { kind: 60_000, content: b"alias".to_vec() });
    let changes = [publish("f", 1), unknown, publish("g", 1)];
    append(&*catalog, &changes);
    assert_eq!(catalog.list().unwrap(), [version("f", 1), version("g", 1)]);
    assert_eq!(log(&*catalog)[0].changes().unwrap(), changes);
}

pub fn following_returns_an_unbroken_chain<F: Fixture>() {
    let fixture = F::new();
    let catalog = fixture.catalog();
    let appended: Vec<_> = (1..=10).map(|number| publish("f", number)).collect();
    for change in &appended {
        append(&*catalog, std::slice::from_ref(change));
    }
    let records = log(&*catalog);
    let mut previous = NO_RECORD;
    for (record, (change, number)) in records.iter().zip(appended.iter().zip(1..)) {
        assert_eq!(record.sequence().number(), number);
        assert_eq!(record.previous(), &previous);
        assert_eq!(&record.changes().unwrap()[..], std::slice::from_ref(change));
        previous = record.hash();
    }
    assert_eq!(records.len(), appended.len());
    let from_the_seventh = catalog.follow(Sequence::new(7), soon()).unwrap();
    assert_eq!(from_the_seventh[0], records[7]);
}

pub fn following_waits_for_an_append<F: Fixture>() {
    let fixture = F::new();
    let catalog = fixture.catalog();
    let first = append(&*catalog, &[publish("f", 1)]);
    std::thread::scope(|scope| {
        let follower = Arc::clone(&catalog);
        let following = scope.spawn(move || follower.follow(first, soon()).unwrap());
        append(&*catalog, &[publish("f", 2)]);
        let records = following.join().unwrap();
        assert_eq!(records[0].changes().unwrap(), [publish("f", 2)]);
    });
}

pub fn following_ends_at_the_deadline<F: Fixture>() {
    let fixture = F::new();
    let catalog = fixture.catalog();
    let first = append(&*catalog, &[publish("f", 1)]);
    let begun = Instant::now();
    let wait = Duration::from_millis(20);
    assert!(catalog.follow(first, begun + wait).unwrap().is_empty());
    assert!((wait..PATIENCE).contains(&begun.elapsed()));
}

pub fn an_append_after_its_deadline_changes_nothing<F: Fixture>() {
    let fixture = F::new();
    let catalog = fixture.catalog();
    let refused = catalog.append(Sequence::START, &[publish("f", 1)], Instant::now());
    assert!(matches!(refused, Err(AppendError::DeadlineExceeded)), "{refused:?}");
    assert!(log(&*catalog).is_empty());
    assert!(catalog.list().unwrap().is_empty());
}

pub fn the_log_alone_determines_the_view<F: Fixture>() {
    let fixture = F::new();
    let catalog = fixture.catalog();
    let digest = version("a", 1).digest;
    let appends: [&[Change]; 9] = [
        &[publish("a", 1), Change::Publish(Box::new(pipeline_version("p", 1)))],
        &[publish("a", 2)],
        &[Change::Publish(Box::new(importing_version("i", 1))), set_current("a", 1)],
        &[Change::Distrust(disagreement(digest)), Change::Distrust(disagreement(Digest::of(b"")))],
        &[Change::Remove(name("p")), publish("b", 1)],
        &[Change::Trust(digest)],
        &[publish("a", 3), set_current("a", 2), Change::Remove(name("b"))],
        &[publish("b", 1), publish("b", 1)],
        &[],
    ];
    for changes in appends {
        append(&*catalog, changes);
    }
    let (other_fixture, names) = (F::new(), ["a", "b", "p", "i"].map(name));
    let other = other_fixture.catalog();
    for record in log(&*catalog) {
        append(&*other, &record.changes().unwrap());
    }
    assert_eq!(view(&*other, &names), view(&*catalog, &names));
    assert_eq!(catalog.current(&names[0]).unwrap(), Some(version("a", 2)));
}

pub fn a_restart_keeps_what_was_acknowledged<F: Fixture>() {
    let fixture = F::new();
    let catalog = fixture.catalog();
    append(&*catalog, &[publish("f", 1), publish("f", 2), set_current("f", 1)]);
    append(&*catalog, &[Change::Distrust(disagreement(Digest::of(b"")))]);
    let names = [name("f")];
    let before = (view(&*catalog, &names), log(&*catalog), catalog.applied());
    drop(catalog);
    let Some(fixture) = fixture.restart() else { return };
    let catalog = fixture.catalog();
    assert_eq!((view(&*catalog, &names), log(&*catalog), catalog.applied()), before);
    assert_eq!(append(&*catalog, &[publish("f", 3)]), before.2.next());
}
