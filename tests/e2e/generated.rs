//! What is remembered and what is computed are the same: over functions and inputs that nobody has thought of.
//!
//! ```text
//! functions: a signature and a body in WAT  --\
//!                                              >-- deployed to two servers, one of which remembers; asked; compared
//! inputs: JSON in several spellings, queries --/
//! ```
//!
//! Each run makes up others. What a test that fails prints has the same ones made again.

mod chains;
mod expressions;
mod functions;
mod inputs;
mod types;

use std::collections::BTreeMap;

use nebula_tests::{Answer, Nebula, Seeded, guests};
use proptest::prelude::*;

use self::functions::Function;
use self::inputs::Ask;

const REMEMBERS: &[&str] = &["--cache-bytes-max", "67108864"];

const FUNCTIONS: usize = 30;

/// Headers that tell of one answer, not of what was asked: when it was made, how, and how long that took.
const OF_THE_MOMENT: &[&str] = &["date", "server-timing", "cache-status", "age"];

/// All of an answer but what is of the moment.
#[derive(Debug, PartialEq)]
struct Lasting {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl Lasting {
    fn of(answer: &Answer) -> Self {
        let lasting = answer.headers().iter().filter(|(name, _)| !OF_THE_MOMENT.contains(&name.as_str()));
        let mut headers: Vec<_> =
            lasting.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
        headers.sort();
        Self { status: answer.status(), headers, body: answer.body().to_vec() }
    }
}

/// Something to ask, and what comes of it where nothing is remembered.
struct Case {
    path: String,
    ask: Ask,
    computed: Answer,
    /// The function, to look at.
    source: String,
}

/// How often what came of it: statuses, and where answers came from.
type Tally = BTreeMap<String, usize>;

/// Asks for each of `cases`, forth and back at the same time, and compares.
fn compare(nebula: &Nebula, cases: &[&Case], sum: &mut Tally) {
    let tally = |cases: &mut dyn Iterator<Item = &&Case>| {
        let mut tally = Tally::new();
        for case in cases {
            let answer = case.ask.send(nebula, &case.path);
            assert_eq!(
                Lasting::of(&answer),
                Lasting::of(&case.computed),
                "{answer:?}\ncomputed: {:?}\nasked: {:?}\n{}",
                case.computed,
                case.ask,
                case.source
            );
            *tally.entry(answer.status().to_string()).or_default() += 1;
            *tally.entry(answer.header("cache-status").unwrap_or("none").to_owned()).or_default() += 1;
        }
        tally
    };
    std::thread::scope(|scope| {
        let back = scope.spawn(|| tally(&mut cases.iter().rev()));
        let forth = tally(&mut cases.iter());
        let back = back.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        for (what, count) in forth.into_iter().chain(back) {
            *sum.entry(what).or_default() += count;
        }
    });
}

/// Asks a server that remembers for every other case, has it start again, and asks for all: whatever is different then
/// from what was computed elsewhere is wrong.
fn compare_across_a_restart(remembers: Nebula, cases: &[Case]) -> Tally {
    let mut tally = Tally::new();
    compare(&remembers, &cases.iter().step_by(2).collect::<Vec<_>>(), &mut tally);
    let home = remembers.home();
    remembers.terminate_and_wait();
    let remembers = Nebula::start_over(home, REMEMBERS);
    compare(&remembers, &cases.iter().collect::<Vec<_>>(), &mut tally);
    tally
}

/// Typed functions of any signature, some of which fail, and some of which take long enough for their results to be on disk.
#[test]
fn generated_functions_are_remembered_as_they_are_computed() {
    let mut seeded = Seeded::new();
    let functions: Vec<Function> = (0..FUNCTIONS)
        .map(|index| seeded.next(functions::function(index % 3 == 0, index % 2 == 0)))
        .collect();
    let (remembers, computes) = (Nebula::start_with(REMEMBERS), Nebula::start());
    std::thread::scope(|scope| {
        for nebula in [&remembers, &computes] {
            let functions = &functions;
            scope.spawn(move || {
                for (index, function) in functions.iter().enumerate() {
                    let deployed =
                        nebula.put(&format!("f{index}?deadline_ms=60000"), &nebula_tests::wat(&function.wat));
                    assert_eq!(deployed.status(), 200, "{deployed:?}\n{}", function.wat);
                }
            });
        }
    });
    let mut cases = Vec::new();
    for (index, function) in functions.iter().enumerate() {
        let path = format!("/f/f{index}");
        for ask in seeded.next(inputs::asks(&function.params)) {
            let computed = ask.send(&computes, &path);
            cases.push(Case { path: path.clone(), ask, computed, source: function.wat.clone() });
        }
    }
    let tally = compare_across_a_restart(remembers, &cases);
    for what in
        ["200", "400", "422", "502", "nebula; fwd=miss; stored", "nebula; hit", "nebula; hit; detail=disk"]
    {
        assert!(tally.contains_key(what), "`{what}` never came: {tally:?}");
    }
}

/// The forms that see more of a request than one value.
#[test]
fn generated_requests_are_remembered_as_they_are_computed() {
    let mut seeded = Seeded::new();
    let (remembers, computes) = (Nebula::start_with(REMEMBERS), Nebula::start());
    for nebula in [&remembers, &computes] {
        nebula.redeploy("mirror", guests::MIRRORS_REQUEST);
        nebula.redeploy("payload", guests::MIRRORS_PAYLOAD);
    }
    let mut cases = Vec::new();
    for (path, ask) in seeded.next(prop::collection::vec(inputs::request(), 80)) {
        let computed = ask.send(&computes, &path);
        cases.push(Case { path, ask, computed, source: String::new() });
    }
    let tally = compare_across_a_restart(remembers, &cases);
    for what in ["200", "418", "nebula; fwd=miss; stored", "nebula; hit", "nebula; hit; detail=disk"] {
        assert!(tally.contains_key(what), "`{what}` never came: {tally:?}");
    }
}
