//! The check on descriptions whose functions have fixed types.

mod properties;

use nebula_codec::{Field, parse_type};

use super::*;

/// Returns the types of some functions, by name.
fn lookup(reference: &nebula_model::id::FunctionRef) -> Result<Callee, String> {
    let ty = |text: &str| parse_type(text).unwrap();
    let typed = |params: &[(&str, &str)], result: &str| {
        let params = params.iter().map(|(name, text)| Field::new(*name, ty(text))).collect();
        Callee::typed(&nebula_codec::Signature { params, result: Some(ty(result)) })
    };
    Ok(match reference.name.as_str() {
        "thumbnail" => Callee::raw(),
        "memeify" => typed(
            &[("meme", "record { image: list<u8>, top: option<string>, bottom: option<string> }")],
            "result<list<u8>, variant { unreadable(string), too-long(u32) }>",
        ),
        "sha256" => typed(&[("input", "list<u8>")], "string"),
        "markdown" => typed(&[("text", "string")], "string"),
        "slugify" => typed(&[("text", "string")], "string"),
        "add" => typed(&[("a", "s64"), ("b", "s64")], "result<s64, string>"),
        "rate" => typed(&[("level", "u8")], "result<variant { good, ok }, string>"),
        "trials" => typed(&[("seed", "u32")], "record { inside: u64, trials: u64 }"),
        "estimate" => typed(&[("all", "list<record { trials: u64, inside: u64 }>")], "f64"),
        "sum" => typed(&[("all", "list<record { region: string, amount: f64 }>")], "f64"),
        name => return Err(format!("there is no function `{name}`")),
    })
}

fn plan(json: &str) -> Result<Plan, InvalidPipeline> {
    check(&serde_json::from_str(json).unwrap(), &mut lookup)
}

fn signature(json: &str) -> String {
    plan(json).unwrap().callee.signature_text()
}

fn refusal(json: &str) -> String {
    plan(json).unwrap_err().to_string()
}

#[test]
fn signature_follows_from_the_steps() {
    for (json, expected) in [
        (r#"{"steps": ["markdown", "slugify"]}"#, "handle: func(text: string) -> string"),
        (
            r#"{"steps": {"all": {"html": "markdown", "slug": "slugify"}}}"#,
            "handle: func(text: string) -> record { html: string, slug: string }",
        ),
        (r#"{"steps": [{"each": "trials"}, "estimate"]}"#, "handle: func(input: list<u32>) -> f64"),
        (
            r#"{"steps": ["thumbnail", {"all": {"image": {"select": "."}, "top": {"constant": "hi"}}}, "memeify", "sha256"]}"#,
            "handle: func(request: payload) -> result<string, variant { thumbnail(variant { bad-input(string) }), memeify(variant { unreadable(string), too-long(u32) }) }>",
        ),
        (
            r#"{"steps": ["add", {"choice": {"ok": {"select": "."}, "err": {"constant": 0}}}]}"#,
            "handle: func(a: s64, b: s64) -> s64",
        ),
        (r#"{"steps": "add"}"#, "handle: func(a: s64, b: s64) -> result<s64, string>"),
        (
            r#"{"input": "list<record { region: string, amount: f64 }>", "steps": {"group": {"by": "region", "each": "sum"}}}"#,
            "handle: func(input: list<record { region: string, amount: f64 }>) -> list<record { key: string, value: f64 }>",
        ),
    ] {
        assert_eq!(signature(json), expected, "{json}");
    }
}

#[test]
fn refusal_names_both_types_and_the_place() {
    for (json, expected) in [
        (r#"{"steps": ["sha256", {"each": "markdown"}]}"#, "step `each` gets `string`, which is not a list"),
        (
            r#"{"steps": [{"each": "sha256"}, "estimate"]}"#,
            "step `estimate` takes `list<record { trials: u64, inside: u64 }>` and gets `list<string>`: at `[]`, expected `record { trials: u64, inside: u64 }`, found `string`",
        ),
        (
            r#"{"steps": ["markdown", "nothing"]}"#,
            "step `nothing` calls `nothing`: there is no function `nothing`",
        ),
        (
            r#"{"steps": ["add", {"choice": {"ok": {"select": "."}}}]}"#,
            "step `choice` gets `result<s64, string>`, and has no step for `err`",
        ),
        (
            r#"{"steps": ["trials", {"select": "outside"}]}"#,
            "step `select outside` gets `record { inside: u64, trials: u64 }`, which has no part `outside`",
        ),
        (
            r#"{"steps": {"select": "a"}}"#,
            "the input type doesn't follow from the first steps (a `select` takes `a`): declare it as `input`",
        ),
        (
            r#"{"steps": ["markdown", {"all": [{"all": {"region": {"select": "."}}}]}, "sum"]}"#,
            "step `sum` takes `list<record { region: string, amount: f64 }>` and gets `tuple<record { region: string }>`: at `.0.amount`, expected `f64`, found `nothing`",
        ),
        (
            r#"{"steps": [{"all": {"a": {"constant": 1}, "b": {"constant": 2}, "c": {"constant": 3}}}, "add"]}"#,
            "step `add` takes `record { a: s64, b: s64 }` and gets `record { a: 1, b: 2, c: 3 }`: at `.c`, expected `nothing`, found `3`",
        ),
        (r#"{"steps": ["thumbnail", "markdown"]}"#, "step `markdown` takes `string` and gets `payload`"),
        (
            r#"{"input": "option<string>", "steps": {"choice": {"some": "markdown", "none": {"constant": 1}}}}"#,
            "the steps of a `choice` give different types: `some` gives `string`, `none` gives `1`",
        ),
        (r#"{"input": "list<>", "steps": []}"#, "`input` is not a type: expected a name, found `>`"),
    ] {
        assert_eq!(refusal(json), expected, "{json}");
    }
}

/// Also if no case is spelt as the function's result has it.
#[test]
fn misspelt_cases_of_a_choice_are_named() {
    let result = "step `choice` gets `result<s64, string>`, which has no case";
    for (json, expected) in [
        (
            r#"{"steps": ["add", {"choice": {"ok": {"select": "."}, "eror": {"constant": 0}}}]}"#,
            format!("{result} `eror`: did you mean `err`?"),
        ),
        (
            r#"{"steps": ["add", {"choice": {"oke": {"select": "."}, "err": {"constant": 0}}}]}"#,
            format!("{result} `oke`: did you mean `ok`?"),
        ),
        (
            r#"{"steps": ["add", {"choice": {"success": {"select": "."}, "failure": {"constant": 0}}}]}"#,
            format!("{result} `success`"),
        ),
        (
            r#"{"steps": ["add", [{"choice": {"ok": {"select": "."}, "errr": {"constant": 0}}}]]}"#,
            format!("{result} `errr`: did you mean `err`?"),
        ),
        (
            r#"{"input": "enum { north, south }", "steps": {"choice": {"north": [], "sout": []}}}"#,
            "step `choice` gets `enum { north, south }`, which has no case `sout`: did you mean `south`?".to_owned(),
        ),
        (
            r#"{"steps": ["trials", {"select": "insde"}]}"#,
            "step `select insde` gets `record { inside: u64, trials: u64 }`, which has no part `insde`: did you mean `inside`?"
                .to_owned(),
        ),
    ] {
        assert_eq!(refusal(json), expected, "{json}");
    }
    // These are the cases of the value in `ok`: the choice isn't by the result.
    let by_value = r#"{"steps": ["rate", {"choice": {"ok": {"constant": 1}, "good": {"constant": 2}}}]}"#;
    assert_eq!(signature(by_value), "handle: func(level: u8) -> result<s64, string>");
}

#[test]
fn depth_and_number_of_steps_are_bounded() {
    let deep = format!("{{\"steps\": {}\"sha256\"{}}}", "[".repeat(40), "]".repeat(40));
    assert_eq!(refusal(&deep), "steps are nested more than 32 deep");
    let wide = format!("{{\"steps\": [{}]}}", vec!["\"sha256\""; 300].join(","));
    assert_eq!(refusal(&wide), "the pipeline has more than 256 steps");
}

#[test]
fn description_survives_the_round_trip() {
    let json = r#"{"input":"payload","steps":["thumbnail",{"all":{"image":{"select":"."},"top":{"constant":"hi"}}},{"call":"memeify@v2","as":"draw"},{"all":["sha256",{"each":"sha256"}]},{"group":{"by":"a.0","each":[]}},{"choice":{"ok":"f","err":[]}}]}"#;
    let pipeline: Pipeline = serde_json::from_str(json).unwrap();
    assert_eq!(serde_json::to_string(&pipeline).unwrap(), json);
}
