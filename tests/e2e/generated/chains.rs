//! A chain answers the same as one component, step by step, and if its functions are called by hand.
//!
//! ```text
//! some types, and functions from each of them to each --\
//!                                                        >-- chains of 2 to 6, each deployed to be fused and not to be
//! functions of anything to them, and of them to anything --/
//! ```
//!
//! Nothing is remembered: what is compared was computed in either way.

use std::collections::BTreeMap;

use nebula_tests::{Answer, Nebula, Seeded, base64, eventually};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::functions::{Function, Wanted, any_params, such_a_function};
use super::inputs::{self, Ask};
use super::types::{Type, any_type};
use super::{Lasting, Tally};

/// What is made up by it has all that the test insists on. Of another one something may never come.
const SEED: u64 = 1;

/// Sets of types and functions. Chains are made of one.
const WORLDS: usize = 3;

/// Types of each that functions pass on.
const TYPES: [&str; 3] = ["a", "b", "c"];

const CHAINS: usize = 8;

/// What a function of those may answer that have too little.
const NARROW_BYTES: usize = 24;

/// What a chain may answer, if it has too little.
const NARROW_CHAIN_BYTES: usize = 48;

/// What calls are counted as that gave a value as one component.
const AS_ONE: &str = "ok as one component";

/// How often inputs are made up for a chain.
const ASKS: usize = 3;

/// A deployed function.
struct Deployed {
    name: String,
    function: Function,
}

/// The functions of a world, by what they take and give: one of its types, or anything else.
struct World {
    functions: BTreeMap<(Option<usize>, Option<usize>), Deployed>,
}

impl World {
    fn make(seeded: &mut Seeded, number: usize) -> Self {
        let mut types = seeded.next(vec(any_type(false), TYPES.len()));
        types[0] = if number.is_multiple_of(2) { Type::String } else { Type::Bytes };
        let errors = seeded.next(vec(any_type(true), 2));
        let places = || (0..TYPES.len()).map(Some).chain([None]);
        let ways = places().flat_map(|from| places().map(move |to| (from, to)));
        let ways = ways.filter(|way| *way != (None, None));
        let functions = ways.enumerate().map(|(index, (from, to))| {
            let params = match from {
                Some(from) => vec![types[from].clone()],
                None => seeded.next(any_params()),
            };
            let result = match to {
                Some(to) => types[to].clone(),
                None => seeded.next(any_type(true)),
            };
            let error = (index % 2 == 0).then(|| errors[index / 2 % 2].clone());
            let wanted = Wanted { params, result, error, errs_bits: 3, is_calm_but_for: Some(5), turns: 1 };
            let name = format!(
                "w{number}-{}-{}",
                from.map_or("any", |at| TYPES[at]),
                to.map_or("any", |at| TYPES[at])
            );
            ((from, to), Deployed { name, function: seeded.next(such_a_function(wanted)) })
        });
        Self { functions: functions.collect() }
    }

    fn deploy(&self, nebula: &Nebula) {
        for Deployed { name, function } in self.functions.values() {
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

/// A function in a chain.
struct Step<'a> {
    /// Under which it is deployed.
    name: String,
    label: String,
    function: &'a Function,
}

struct Chain<'a> {
    steps: Vec<Step<'a>>,
    is_narrow: bool,
}

impl<'a> Chain<'a> {
    fn make(seeded: &mut Seeded, world: &'a World, number: usize) -> Self {
        let length = 2 + number % 5;
        let mut places: Vec<_> = seeded.next(vec(0..TYPES.len(), length + 1)).into_iter().map(Some).collect();
        let (is_open_at_first, is_open_at_last) = seeded.next((any::<bool>(), any::<bool>()));
        if is_open_at_first {
            places[0] = None;
        }
        if is_open_at_last {
            places[length] = None;
        }
        // How long others are is estimated, where a chain runs as one component. The last may give no less than the chain.
        let may_be_narrow = |at: &usize| {
            let result = &world.functions[&(places[*at], places[at + 1])].function.result;
            matches!(result, Type::String | Type::Bytes)
        };
        let narrow = (number % 2 == 1).then(|| (0..length - 1).find(may_be_narrow)).flatten();
        let mut times = BTreeMap::<String, usize>::new();
        let steps = places.windows(2).enumerate().map(|(at, way)| {
            let Deployed { name, function } = &world.functions[&(way[0], way[1])];
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
        assert_eq!(deployed.status(), 200, "{deployed:?}\n{}", self.shown());
    }

    fn shown(&self) -> String {
        self.steps.iter().map(|step| format!("{}:\n{}\n", step.label, step.function.wat)).collect()
    }

    /// What calling one after the other gives, and which answered last.
    fn by_hand(&self, nebula: &Nebula, ask: &Ask) -> (usize, Answer) {
        let mut ask = ask.clone();
        let last = self.steps.len() - 1;
        for (at, step) in self.steps.iter().enumerate() {
            let path = format!("/f/{}", step.name);
            let answer = ask.send(nebula, &path);
            if answer.status() == 200 && at < last {
                ask = Ask::json(answer.body());
                continue;
            }
            // Between steps a text and bytes are as long as they are, and not as they are in JSON.
            let is_too_long = answer.status() == 502 && kind(&answer) == "output-too-large";
            let plain = is_too_long.then(|| ask.for_plain().send(nebula, &path));
            let Some(plain) = plain.filter(|plain| plain.status() == 200) else { return (at, answer) };
            let is_text = step.function.result == Type::String;
            ask = Ask::json(
                if is_text { json!(plain.text()) } else { json!(base64(plain.body())) }.to_string(),
            );
        }
        unreachable!("the last one answers")
    }

    /// Whether the chain answered what that comes to.
    fn is_as_by_hand(&self, chain: &Answer, (at, hand): &(usize, Answer)) -> bool {
        let label = &self.steps[*at].label;
        let body = match hand.status() {
            422 if self.wraps_errors() => format!("{{\"{label}\":{}}}", hand.text()).into_bytes(),
            _ => hand.body().to_vec(),
        };
        let is_same = |name| chain.header(name) == hand.header(name);
        match hand.status() {
            200 | 422 if self.is_narrow && body.len() > NARROW_CHAIN_BYTES => {
                chain.status() == 502 && kind(chain) == "output-too-large" && chain.json()["step"].is_null()
            }
            status if status < 500 => {
                let is_same_content = is_same("etag") || body != hand.body();
                chain.status() == status && chain.body() == body && is_same("content-type") && is_same_content
            }
            status => {
                chain.status() == status
                    && kind(chain) == kind(hand)
                    && chain.json()["step"] == label.as_str()
            }
        }
    }

    /// Whether errors say whose they are, as they are of several types.
    fn wraps_errors(&self) -> bool {
        let errors: Vec<&Type> = self.steps.iter().filter_map(|step| step.function.error.as_ref()).collect();
        errors.windows(2).any(|pair| pair[0] != pair[1])
    }
}

/// The kind of a problem.
fn kind(answer: &Answer) -> String {
    let problem = answer.json();
    problem["type"].as_str().unwrap_or_default().trim_start_matches("urn:nebula:problem:").to_owned()
}

/// What came of a call, in a word.
fn class(answer: &Answer) -> String {
    match answer.status() {
        200 => "ok".to_owned(),
        422 => "err".to_owned(),
        _ => kind(answer),
    }
}

/// All of an answer but what is of the moment, and which of the two gave it.
fn lasting(answer: &Answer) -> Lasting {
    let mut lasting = Lasting::of(answer);
    lasting.headers.retain(|(name, _)| name != "nebula-function");
    lasting
}

/// Whether a call ran as one component to its end: else its steps are told of.
fn ran_as_one(answer: &Answer) -> bool {
    !answer.header("server-timing").unwrap().contains("desc=")
}

/// Waits until a chain is linked and compiled, by what is answered with a value.
fn wait_until_fused(nebula: &Nebula, path: &str, ask: &Ask) {
    eventually(&format!("{path} is one component"), || ran_as_one(&ask.send(nebula, path)).then_some(()));
}

/// Asks for everything that was asked of a chain step by step, and compares.
fn compare(nebula: &Nebula, chain: &Chain, path: &str, answered: &[(Ask, Answer)], tally: &mut Tally) {
    let mut count = |what: &str| *tally.entry(what.to_owned()).or_default() += 1;
    for (ask, stepped) in answered {
        let fused = ask.send(nebula, path);
        assert_eq!(
            lasting(&fused),
            lasting(stepped),
            "{fused:?}\nstep by step: {stepped:?}\n{ask:?}\n{}",
            chain.shown()
        );
        count(&class(&fused));
        if fused.status() == 200 && ran_as_one(&fused) {
            count(AS_ONE);
        }
    }
}

/// Typed functions of any signature in chains, some of which fail for some inputs or answer too much.
#[test]
fn generated_chains_answer_the_same_in_every_way() {
    let mut seeded = Seeded::unless_given(SEED);
    let worlds: Vec<_> = (0..WORLDS).map(|number| World::make(&mut seeded, number)).collect();
    let mut chains = Vec::new();
    for (number, world) in worlds.iter().enumerate() {
        for chain in 0..CHAINS {
            chains.push(Chain::make(&mut seeded, world, number * CHAINS + chain));
        }
    }
    let nebula = Nebula::start();
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
    // Step by step goes first: meanwhile they are linked and compiled.
    let mut cases = Vec::new();
    for (index, chain) in chains.iter().enumerate() {
        let asks = seeded.next(vec(inputs::asks(&chain.steps[0].function.params), ASKS));
        let answered = asks.into_iter().flatten().map(|ask| {
            let stepped = ask.send(&nebula, &format!("/f/never-{index}"));
            if ask.is_json() {
                let hand = chain.by_hand(&nebula, &ask);
                let is_same = chain.is_as_by_hand(&stepped, &hand);
                assert!(is_same, "{stepped:?}\nby hand: {hand:?}\n{ask:?}\n{}", chain.shown());
            }
            (ask, stepped)
        });
        cases.push((format!("/f/always-{index}"), chain, answered.collect::<Vec<_>>()));
    }
    // That a chain runs as one component shows where it gives a value. Those that never do come last: none is linked after them.
    let first_value = |case: &(String, &Chain, Vec<(Ask, Answer)>)| {
        case.2.iter().position(|(_, stepped)| stepped.status() == 200)
    };
    cases.sort_by_key(|case| first_value(case).is_none());
    let mut tally = Tally::new();
    for case in &cases {
        let (path, chain, answered) = case;
        if let Some(first) = first_value(case) {
            wait_until_fused(&nebula, path, &answered[first].0);
            *tally.entry("chains seen as one component".to_owned()).or_default() += 1;
        }
        compare(&nebula, chain, path, answered, &mut tally);
    }
    for what in ["ok", AS_ONE, "err", "trap", "invalid-answer", "output-too-large", "type-mismatch"] {
        assert!(tally.contains_key(what), "`{what}` never came: {tally:?}");
    }
    assert!(tally["chains seen as one component"] * 2 > chains.len(), "{tally:?}");
    // Of a function that may answer little, what it does answer isn't always known to be little.
    assert!(tally[AS_ONE] * 10 >= tally["ok"] * 9, "{tally:?}");
}
