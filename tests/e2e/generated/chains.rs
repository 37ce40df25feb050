//! A chain gives the same answers fused into one component, step by step, and when a caller calls
//! its functions in order.
//!
//! ```text
//! some types, and functions from each of them to each  --\
//!                                                         >-- chains of 2 to 6 steps, each deployed fused and unfused
//! functions from any type to them, and to any from them --/
//! ```
//!
//! The server has no cache: both answers are computed.

use std::collections::BTreeMap;

use nebula_tests::{Answer, Generator, Nebula, base64, eventually};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::functions::{Function, FunctionSpec, any_params, function_of};
use super::inputs::{self, FunctionRequest};
use super::types::{Type, any_type, any_type_without_floats};
use super::{StableParts, Tally};

/// A seed for which every outcome that the test asserts on occurs. With another seed one may be
/// missing.
const SEED: u64 = 1;

/// The number of worlds. All functions of a chain belong to one world.
const WORLDS: usize = 3;

/// Names of the types that the functions of a world pass on.
const TYPES: [&str; 3] = ["a", "b", "c"];

/// The number of chains in each world.
const CHAINS: usize = 8;

/// The output limit of functions whose limit is meant to be exceeded.
const NARROW_BYTES: usize = 24;

/// The output limit of chains whose limit is meant to be exceeded.
const NARROW_CHAIN_BYTES: usize = 48;

/// The outcome under which the tally counts values of fused calls.
const FUSED_OK: &str = "ok as one component";

/// The outcome under which the tally counts chains that have been called as one component.
const FUSED_CHAINS: &str = "chains seen as one component";

/// The number of sets of inputs for each chain.
const INPUT_SETS: usize = 3;

/// A deployed function.
struct DeployedFunction {
    name: String,
    function: Function,
}

/// The ends of a function: indices of the world's types, or `None` for any other type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ends {
    from: Option<usize>,
    to: Option<usize>,
}

/// A set of types, and functions from and to them.
struct World {
    functions: BTreeMap<Ends, DeployedFunction>,
}

impl World {
    fn generate(generator: &mut Generator, number: usize) -> Self {
        let mut types = generator.next(vec(any_type_without_floats(), TYPES.len()));
        types[0] = if number.is_multiple_of(2) { Type::String } else { Type::Bytes };
        let errors = generator.next(vec(any_type(), 2));
        let places = || (0..TYPES.len()).map(Some).chain([None]);
        let all = places().flat_map(|from| places().map(move |to| Ends { from, to }));
        let all = all.filter(|ends| *ends != Ends { from: None, to: None });
        let functions = all.enumerate().map(|(index, ends)| {
            let Ends { from, to } = ends;
            let params = match from {
                Some(from) => vec![types[from].clone()],
                None => generator.next(any_params()),
            };
            let result = match to {
                Some(to) => types[to].clone(),
                None => generator.next(any_type()),
            };
            let error = (index % 2 == 0).then(|| errors[index / 2 % 2].clone());
            let spec = FunctionSpec { params, result, error, error_bits: 3, trap_bits: Some(5), turns: 1 };
            let name = format!(
                "w{number}-{}-{}",
                from.map_or("any", |at| TYPES[at]),
                to.map_or("any", |at| TYPES[at])
            );
            (ends, DeployedFunction { name, function: generator.next(function_of(spec)) })
        });
        Self { functions: functions.collect() }
    }

    fn deploy(&self, nebula: &Nebula) {
        for DeployedFunction { name, function } in self.functions.values() {
            let component = nebula_tests::wat(&function.wat);
            for (suffix, limit) in
                [("", String::new()), ("-narrow", format!("&output_bytes_max={NARROW_BYTES}"))]
            {
                let deployed = nebula.put(&format!("{name}{suffix}?deadline_ms=60000{limit}"), &component);
                assert_eq!(deployed.status(), 200, "{deployed:?}\n{}", function.wat);
            }
        }
    }
}

/// A step of a chain.
struct Step<'a> {
    /// The name of the deployed function.
    name: String,
    /// The label that the pipeline gives the step.
    label: String,
    function: &'a Function,
}

struct Chain<'a> {
    steps: Vec<Step<'a>>,
    /// True if the output limit of the chain is [`NARROW_CHAIN_BYTES`].
    is_narrow: bool,
}

/// The answer of the last function called, when a caller calls the functions of a chain in order.
#[derive(Debug)]
struct ManualAnswer {
    /// The index of the step.
    step: usize,
    answer: Answer,
}

impl<'a> Chain<'a> {
    fn generate(generator: &mut Generator, world: &'a World, number: usize) -> Self {
        let length = 2 + number % 5;
        let mut places: Vec<_> =
            generator.next(vec(0..TYPES.len(), length + 1)).into_iter().map(Some).collect();
        let (begins_with_any, ends_with_any) = generator.next((any::<bool>(), any::<bool>()));
        if begins_with_any {
            places[0] = None;
        }
        if ends_with_any {
            places[length] = None;
        }
        let ends = |at: usize| Ends { from: places[at], to: places[at + 1] };
        // A fused chain knows the exact length of texts and bytes only; it estimates the length of
        // other values. The last function may not have a lower limit than the chain.
        let may_be_narrow = |at: &usize| {
            let result = &world.functions[&ends(*at)].function.result;
            matches!(result, Type::String | Type::Bytes)
        };
        let narrow = (number % 2 == 1).then(|| (0..length - 1).find(may_be_narrow)).flatten();
        let mut times = BTreeMap::<String, usize>::new();
        let steps = (0..length).map(|at| {
            let DeployedFunction { name, function } = &world.functions[&ends(at)];
            let name = if narrow == Some(at) { format!("{name}-narrow") } else { name.clone() };
            let times = times.entry(name.clone()).or_default();
            *times += 1;
            let label = if *times > 1 { format!("{name}-{times}") } else { name.clone() };
            Step { name, label, function }
        });
        Self { steps: steps.collect(), is_narrow: number.is_multiple_of(4) }
    }

    fn deploy(&self, nebula: &Nebula, name: &str, fuse: &str) {
        let steps: Vec<_> = self.steps.iter().map(|step| &step.name).collect();
        let limit =
            if self.is_narrow { format!("&output_bytes_max={NARROW_CHAIN_BYTES}") } else { String::new() };
        let path = format!("/api/v1/pipelines/{name}?deadline_ms=60000{limit}");
        let body = json!({"steps": steps, "fuse": fuse}).to_string();
        let deployed = nebula.control("PUT", &path).body(body).send();
        assert_eq!(deployed.status(), 200, "{deployed:?}\n{}", self.source());
    }

    /// Returns the WAT of all steps, for the message of a failure.
    fn source(&self) -> String {
        self.steps.iter().map(|step| format!("{}:\n{}\n", step.label, step.function.wat)).collect()
    }

    /// Calls the functions in order, until one doesn't return a value.
    fn call_manually(&self, nebula: &Nebula, request: &FunctionRequest) -> ManualAnswer {
        let mut request = request.clone();
        let last = self.steps.len() - 1;
        for (at, step) in self.steps.iter().enumerate() {
            let path = format!("/f/{}", step.name);
            let answer = request.send(nebula, &path);
            if answer.status() == 200 && at < last {
                request = FunctionRequest::json(answer.body());
                continue;
            }
            // Between steps, the output limit applies to plain text and bytes, which are shorter
            // than JSON.
            let is_too_long = answer.status() == 502 && kind(&answer) == "output-too-large";
            let plain = is_too_long.then(|| request.accepting_plain().send(nebula, &path));
            let Some(plain) = plain.filter(|plain| plain.status() == 200) else {
                return ManualAnswer { step: at, answer };
            };
            let is_text = step.function.result == Type::String;
            request = FunctionRequest::json(
                if is_text { json!(plain.text()) } else { json!(base64(plain.body())) }.to_string(),
            );
        }
        unreachable!("the last function answers")
    }

    /// Returns whether the chain's answer is the one that the manual calls imply.
    fn matches_manual(&self, chain: &Answer, manual: &ManualAnswer) -> bool {
        let ManualAnswer { step, answer: manual } = manual;
        let label = &self.steps[*step].label;
        let body = match manual.status() {
            422 if self.wraps_errors() => format!("{{\"{label}\":{}}}", manual.text()).into_bytes(),
            _ => manual.body().to_vec(),
        };
        let is_same = |name| chain.header(name) == manual.header(name);
        match manual.status() {
            200 | 422 if self.is_narrow && body.len() > NARROW_CHAIN_BYTES => {
                chain.status() == 502 && kind(chain) == "output-too-large" && chain.json()["step"].is_null()
            }
            status if status < 500 => {
                let is_same_content = is_same("etag") || body != manual.body();
                chain.status() == status && chain.body() == body && is_same("content-type") && is_same_content
            }
            status => {
                chain.status() == status
                    && kind(chain) == kind(manual)
                    && chain.json()["step"] == label.as_str()
            }
        }
    }

    /// Returns whether the chain labels errors with their step, because steps have errors of
    /// several types.
    fn wraps_errors(&self) -> bool {
        let errors: Vec<&Type> = self.steps.iter().filter_map(|step| step.function.error.as_ref()).collect();
        errors.windows(2).any(|pair| pair[0] != pair[1])
    }
}

/// Returns the kind of a problem document.
fn kind(answer: &Answer) -> String {
    let problem = answer.json();
    problem["type"].as_str().unwrap_or_default().trim_start_matches("urn:nebula:problem:").to_owned()
}

/// Returns the outcome of a call in one word.
fn outcome(answer: &Answer) -> String {
    match answer.status() {
        200 => "ok".to_owned(),
        422 => "err".to_owned(),
        _ => kind(answer),
    }
}

/// Returns the parts of an answer that don't depend on the pipeline's name.
fn stable(answer: &Answer) -> StableParts {
    let mut stable = StableParts::of(answer);
    stable.headers.retain(|(name, _)| name != "nebula-function");
    stable
}

/// Returns whether a call ran to its end as one component. Otherwise the answer lists its steps.
fn ran_fused(answer: &Answer) -> bool {
    !answer.header("server-timing").unwrap().contains("desc=")
}

/// Waits until a chain is linked and compiled, with a request that it answers with a value.
fn wait_until_fused(nebula: &Nebula, path: &str, request: &FunctionRequest) {
    eventually(&format!("{path} is one component"), || ran_fused(&request.send(nebula, path)).then_some(()));
}

/// A chain deployed to be fused, and the answers that the same chain gave step by step.
struct Case<'a> {
    path: String,
    chain: &'a Chain<'a>,
    stepped: Vec<(FunctionRequest, Answer)>,
}

impl Case<'_> {
    /// Returns the first request that the chain answers with a value.
    fn first_with_value(&self) -> Option<&FunctionRequest> {
        self.stepped.iter().find(|(_, answer)| answer.status() == 200).map(|(request, _)| request)
    }

    /// Sends every request to the fused chain and compares the answers.
    fn compare(&self, nebula: &Nebula, tally: &mut Tally) {
        let mut count = |outcome: &str| *tally.entry(outcome.to_owned()).or_default() += 1;
        for (request, stepped) in &self.stepped {
            let fused = request.send(nebula, &self.path);
            assert_eq!(
                stable(&fused),
                stable(stepped),
                "{fused:?}\nstep by step: {stepped:?}\n{request:?}\n{}",
                self.chain.source()
            );
            count(&outcome(&fused));
            if fused.status() == 200 && ran_fused(&fused) {
                count(FUSED_OK);
            }
        }
    }
}

/// The functions are typed and have any signature. For some inputs, some of them fail or exceed a
/// limit.
#[test]
fn fused_stepped_and_manual_calls_of_generated_chains_agree() {
    let mut generator = Generator::with_default_seed(SEED);
    let worlds: Vec<_> = (0..WORLDS).map(|number| World::generate(&mut generator, number)).collect();
    let mut chains = Vec::new();
    for (number, world) in worlds.iter().enumerate() {
        for chain in 0..CHAINS {
            chains.push(Chain::generate(&mut generator, world, number * CHAINS + chain));
        }
    }
    let nebula = Nebula::start_uncached();
    std::thread::scope(|scope| {
        for world in &worlds {
            scope.spawn(|| world.deploy(&nebula));
        }
    });
    for (index, chain) in chains.iter().enumerate() {
        for fuse in ["always", "never"] {
            chain.deploy(&nebula, &format!("{fuse}-{index}"), fuse);
        }
    }
    // Run the chains step by step first: meanwhile the server links and compiles the fused ones.
    let mut cases = Vec::new();
    for (index, chain) in chains.iter().enumerate() {
        let sets = generator.next(vec(inputs::requests(&chain.steps[0].function.params), INPUT_SETS));
        let stepped = sets.into_iter().flatten().map(|request| {
            let stepped = request.send(&nebula, &format!("/f/never-{index}"));
            if request.is_json() {
                let manual = chain.call_manually(&nebula, &request);
                let matches = chain.matches_manual(&stepped, &manual);
                assert!(matches, "{stepped:?}\ncalled in order: {manual:?}\n{request:?}\n{}", chain.source());
            }
            (request, stepped)
        });
        cases.push(Case { path: format!("/f/always-{index}"), chain, stepped: stepped.collect() });
    }
    // Only an answer with a value shows that a chain is fused. Chains without one come last, when
    // all linking is done.
    cases.sort_by_key(|case| case.first_with_value().is_none());
    let mut tally = Tally::new();
    for case in &cases {
        if let Some(request) = case.first_with_value() {
            wait_until_fused(&nebula, &case.path, request);
            *tally.entry(FUSED_CHAINS.to_owned()).or_default() += 1;
        }
        case.compare(&nebula, &mut tally);
    }
    for outcome in ["ok", FUSED_OK, "err", "trap", "invalid-answer", "output-too-large", "type-mismatch"] {
        assert!(tally.contains_key(outcome), "`{outcome}` never occurred: {tally:?}");
    }
    assert!(tally[FUSED_CHAINS] * 2 > chains.len(), "{tally:?}");
    // A call leaves the fused chain if an estimate exceeds a function's limit, even where the value
    // itself doesn't.
    assert!(tally[FUSED_OK] * 10 >= tally["ok"] * 9, "{tally:?}");
}
