//! Cached and computed results are equal, for generated functions and generated inputs.
//!
//! ```text
//! functions: a signature and a body in WAT  --\
//!                                              >-- deployed to two servers, one with a cache; called; compared
//! inputs: JSON in several spellings, queries --/
//! ```
//!
//! Every run generates other functions and inputs. A test that fails prints the seed that repeats
//! it.
//!
//! * `types`: WIT types and their layout in core Wasm.
//! * `expressions` and `functions`: bodies over those types, as WAT.
//! * `inputs`: values in several spellings, and whole requests.
//! * `chains`: the same for pipelines, fused and step by step.

mod chains;
mod expressions;
mod functions;
mod inputs;
mod types;

use std::collections::BTreeMap;

use nebula_tests::{Answer, Generator, Nebula, guests};
use proptest::prelude::*;

use self::functions::Function;
use self::inputs::FunctionRequest;

const FUNCTIONS: usize = 30;

/// Headers that differ between two answers to the same request: when each was made, how, and how
/// long that took.
const VOLATILE_HEADERS: &[&str] = &["date", "server-timing", "cache-status", "age", "x-request-id"];

/// The parts of an answer that are equal for equal requests: all but [`VOLATILE_HEADERS`].
#[derive(Debug, PartialEq)]
struct StableParts {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
}

impl StableParts {
    fn of(answer: &Answer) -> Self {
        let stable = answer.headers().iter().filter(|(name, _)| !VOLATILE_HEADERS.contains(&name.as_str()));
        let mut headers: Vec<_> =
            stable.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
        headers.sort();
        Self { status: answer.status(), headers, body: answer.body().to_vec() }
    }
}

/// A request and the answer of a server without a cache.
struct Case {
    path: String,
    request: FunctionRequest,
    computed: Answer,
    /// The function's WAT, for the message of a failure.
    source: String,
}

/// Counts of outcomes: statuses and values of `Cache-Status`.
type Tally = BTreeMap<String, usize>;

/// Sends each request of `cases` twice, forwards and backwards at the same time, and compares the
/// answers with the computed ones.
fn compare(nebula: &Nebula, cases: &[&Case], sum: &mut Tally) {
    let tally = |cases: &mut dyn Iterator<Item = &&Case>| {
        let mut tally = Tally::new();
        for case in cases {
            let answer = case.request.send(nebula, &case.path);
            assert_eq!(
                StableParts::of(&answer),
                StableParts::of(&case.computed),
                "{answer:?}\ncomputed: {:?}\nrequest: {:?}\n{}",
                case.computed,
                case.request,
                case.source
            );
            *tally.entry(answer.status().to_string()).or_default() += 1;
            *tally.entry(answer.header("cache-status").unwrap_or("none").to_owned()).or_default() += 1;
        }
        tally
    };
    std::thread::scope(|scope| {
        let backwards = scope.spawn(|| tally(&mut cases.iter().rev()));
        let forwards = tally(&mut cases.iter());
        let backwards = backwards.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        for (outcome, count) in forwards.into_iter().chain(backwards) {
            *sum.entry(outcome).or_default() += count;
        }
    });
}

/// Compares every other case on a server with a cache, restarts it, and compares all cases.
fn compare_across_a_restart(caching: Nebula, cases: &[Case]) -> Tally {
    let mut tally = Tally::new();
    compare(&caching, &cases.iter().step_by(2).collect::<Vec<_>>(), &mut tally);
    let home = caching.home();
    caching.terminate_and_wait();
    let caching = Nebula::start_over(home, &[]);
    compare(&caching, &cases.iter().collect::<Vec<_>>(), &mut tally);
    tally
}

/// The functions are typed and have any signature. Some fail; some run long enough for their
/// results to be stored on disk.
#[test]
fn cached_results_of_generated_functions_equal_computed_ones() {
    let mut generator = Generator::new();
    let functions: Vec<Function> = (0..FUNCTIONS)
        .map(|index| {
            let kind = functions::Kind { is_slow: index % 3 == 0, has_errors: index % 2 == 0 };
            generator.next(functions::function(kind))
        })
        .collect();
    let (caching, computing) = (Nebula::start(), Nebula::start_uncached());
    std::thread::scope(|scope| {
        for nebula in [&caching, &computing] {
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
        for request in generator.next(inputs::requests(&function.params)) {
            let computed = request.send(&computing, &path);
            cases.push(Case { path: path.clone(), request, computed, source: function.wat.clone() });
        }
    }
    let tally = compare_across_a_restart(caching, &cases);
    for outcome in
        ["200", "400", "422", "502", "nebula; fwd=miss; stored", "nebula; hit", "nebula; hit; detail=disk"]
    {
        assert!(tally.contains_key(outcome), "`{outcome}` never occurred: {tally:?}");
    }
}

/// The raw and the http form see more of a request than one value.
#[test]
fn cached_results_of_generated_requests_equal_computed_ones() {
    let mut generator = Generator::new();
    let (caching, computing) = (Nebula::start(), Nebula::start_uncached());
    for nebula in [&caching, &computing] {
        nebula.redeploy("mirror", guests::MIRRORS_REQUEST);
        nebula.redeploy("payload", guests::MIRRORS_PAYLOAD);
    }
    let mut cases = Vec::new();
    for (path, request) in generator.next(prop::collection::vec(inputs::mirror_request(), 80)) {
        let computed = request.send(&computing, &path);
        cases.push(Case { path, request, computed, source: String::new() });
    }
    let tally = compare_across_a_restart(caching, &cases);
    for outcome in ["200", "418", "nebula; fwd=miss; stored", "nebula; hit", "nebula; hit; detail=disk"] {
        assert!(tally.contains_key(outcome), "`{outcome}` never occurred: {tally:?}");
    }
}
