//! Typed functions: every kind of WIT value as JSON, text, bytes and queries, and the pointers of
//! type mismatches.

use nebula_tests::{Nebula, base64, foreach_guest_in_typed, guests, wat};
use serde_json::{Value, json};

foreach_guest_in_typed!(is_tested);

/// Returns an input with every kind of WIT value, spelled as the codec encodes it.
fn everything() -> Value {
    json!({
        "yes": true,
        "tiny": i8::MIN,
        "small": i16::MIN,
        "medium": i32::MIN,
        "large": i64::MIN,
        "tiny-unsigned": u8::MAX,
        "small-unsigned": u16::MAX,
        "medium-unsigned": u32::MAX,
        "large-unsigned": u64::MAX,
        "single": 0.5,
        "double": -1.25e300,
        "letter": "\u{1f980}",
        "text": "Grüße \"quoted\"\n\u{0}",
        "bytes": base64(&[0, 1, 254, 255]),
        "colour": "deep-green",
        "rights": ["read", "execute-all"],
        "shapes": [
            "point",
            {"circle": 2.5},
            {"polygon": [[0.5, 1.5], [2.5, 3.5]]},
            {"labelled": {"text": "x", "initial": "y"}},
        ],
        "maybe": 7,
        "nested-maybe": {"some": null},
        "outcome": {"err": "no"},
        "bare-outcome": {"ok": null},
        "pair": ["p", [[1, 2], [], [65535]]],
    })
}

fn with(changes: &[(&str, Value)]) -> String {
    let mut value = everything();
    for (name, change) in changes {
        value[name] = change.clone();
    }
    value.to_string()
}

/// Every kind of value is decoded and encoded; equivalent spellings give the codec's own.
#[test]
fn mirrors() {
    let nebula = Nebula::start().deploy("mirrors", guests::MIRRORS);
    let answer = nebula.post("/f/mirrors", &everything().to_string()).is(200);
    assert_eq!(answer.has("content-type", "application/json").json(), everything());

    // Each of these is another spelling of a value, and the answer has the codec's own.
    for (name, given, answered) in [
        ("large", json!(i64::MIN.to_string()), json!(i64::MIN)),
        ("large-unsigned", json!(u64::MAX.to_string()), json!(u64::MAX)),
        ("bytes", json!([0, 1, 254, 255]), json!(base64(&[0, 1, 254, 255]))),
        ("double", json!("NaN"), json!("NaN")),
        ("double", json!("-Infinity"), json!("-Infinity")),
        ("single", json!("Infinity"), json!("Infinity")),
        ("rights", json!(["execute-all", "read"]), json!(["read", "execute-all"])),
        ("rights", json!([]), json!([])),
        ("maybe", Value::Null, Value::Null),
        ("nested-maybe", Value::Null, Value::Null),
        ("nested-maybe", json!({"some": "x"}), json!({"some": "x"})),
        ("outcome", json!({"ok": 1}), json!({"ok": 1})),
        ("shapes", json!([]), json!([])),
    ] {
        let answer = nebula.post("/f/mirrors", &with(&[(name, given.clone())])).is(200);
        assert_eq!(answer.json()[name], answered, "{name}: {given}");
    }
    // An omitted option is `none`.
    let mut without = everything();
    without.as_object_mut().unwrap().remove("maybe");
    assert_eq!(nebula.post("/f/mirrors", &without.to_string()).is(200).json()["maybe"], Value::Null);
}

#[test]
fn type_mismatches_have_a_pointer() {
    let nebula = Nebula::start().deploy("mirrors", guests::MIRRORS);
    for (name, given, pointer, expected) in [
        ("yes", json!("true"), "/yes", "bool"),
        ("tiny", json!(128), "/tiny", "s8"),
        ("tiny-unsigned", json!(-1), "/tiny-unsigned", "u8"),
        ("large", json!("9223372036854775808"), "/large", "s64"),
        ("medium", json!(1.5), "/medium", "s32"),
        ("medium", json!("1"), "/medium", "s32"),
        ("double", json!("nan"), "/double", "f64"),
        ("letter", json!("ab"), "/letter", "char"),
        ("letter", json!(""), "/letter", "char"),
        ("text", json!(1), "/text", "string"),
        ("bytes", json!("not base64!"), "/bytes", "list<u8>"),
        ("bytes", json!([256]), "/bytes/0", "u8"),
        ("shapes", json!([{"circle": "big"}]), "/shapes/0/circle", "f64"),
        ("shapes", json!(["point", {"polygon": [[1, 2], [1, "x"]]}]), "/shapes/1/polygon/1/1", "f32"),
        ("shapes", json!([{"labelled": {"text": "x", "initial": 1}}]), "/shapes/0/labelled/initial", "char"),
        ("outcome", json!({"ok": "x"}), "/outcome/ok", "u32"),
        ("pair", json!(["p", [[1], [70000]]]), "/pair/1/1/0", "u16"),
        ("maybe", json!("x"), "/maybe", "u32"),
    ] {
        nebula
            .post("/f/mirrors", &with(&[(name, given)]))
            .is(400)
            .problem("type-mismatch")
            .pointer(pointer)
            .expected(expected);
    }
    // The expected type of these is written out, so only the pointer is checked.
    for (name, given, pointer) in [
        ("colour", json!("deepgreen"), "/colour"),
        ("rights", json!(["fly"]), "/rights"),
        ("shapes", json!(["square"]), "/shapes/0"),
        ("shapes", json!([{"circle": 1, "point": null}]), "/shapes/0"),
        ("outcome", json!({}), "/outcome"),
        ("pair", json!(["p"]), "/pair"),
    ] {
        nebula.post("/f/mirrors", &with(&[(name, given)])).is(400).problem("type-mismatch").pointer(pointer);
    }
}

/// Several parameters are sent as an object or an array; the function's own error is 422.
#[test]
fn adds() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS);
    nebula.post("/f/adds", r#"{"a": 2, "b": 40}"#).is(200).says("42");
    nebula.post("/f/adds", r#"{"b": -9223372036854775808, "a": "1"}"#).is(200).says("-9223372036854775807");
    // The function's own error is an answer, not a problem document.
    nebula
        .post("/f/adds", r#"{"a": 9223372036854775807, "b": 1}"#)
        .is(422)
        .has("content-type", "application/json")
        .says("\"9223372036854775807 + 1 is out of range\"");
    nebula
        .post("/f/adds", r#"{"a": "x", "b": 1}"#)
        .is(400)
        .problem("type-mismatch")
        .pointer("/a")
        .expected("s64");
    nebula.post("/f/adds", r#"{"a": 1}"#).is(400).problem("type-mismatch");
    nebula.post("/f/adds", r#"{"a": 1, "b": 2, "c": 3}"#).is(400).problem("type-mismatch");
    // Arguments may be given in order.
    nebula.post("/f/adds", "[1, 2]").is(200).says("3");
    nebula.post("/f/adds", "[1]").is(400).problem("type-mismatch");
    nebula.post("/f/adds", "3").is(400).problem("type-mismatch").pointer("");
}

/// A function without parameters takes an empty body; one without a result returns `null`.
#[test]
fn says_nothing() {
    let nebula = Nebula::start().deploy("says-nothing", guests::SAYS_NOTHING);
    nebula.post("/f/says-nothing", "").is(200).says("null");
    nebula.request("POST", "/f/says-nothing").send().is(200).says("null");
    nebula.get("/f/says-nothing").is(200).says("null");
}

/// Text is sent as plain text or as JSON, in requests and in answers.
#[test]
fn greets() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS);
    let call = || nebula.request("POST", "/f/greets");
    let text = "text/plain; charset=utf-8";
    call()
        .header("content-type", "text/plain")
        .body("Ada")
        .send()
        .is(200)
        .has("content-type", text)
        .says("Hello, Ada!");
    call().body("Ada").send().is(200).has("content-type", text).says("Hello, Ada!");
    call().header("content-type", "application/json").body("\"Ada\"").send().is(200).says("\"Hello, Ada!\"");
    call()
        .header("content-type", "application/x+json")
        .body("\"Ada\"")
        .send()
        .is(200)
        .says("\"Hello, Ada!\"");
    call().header("accept", "application/json").body("Ada").send().is(200).says("\"Hello, Ada!\"");
    let json = call().header("content-type", "application/json").header("accept", "text/plain");
    json.body("\"Ada\"").send().is(200).has("content-type", text).says("Hello, Ada!");
    call().body("").send().is(200).says("Hello, !");
    call().header("content-type", "image/png").body("Ada").send().is(415).problem("unsupported-media-type");
    // `curl -d` sends this media type.
    let curl = call().header("content-type", "application/x-www-form-urlencoded");
    curl.body("Ada").send().is(200).says("Hello, Ada!");
}

/// Bytes are sent as they are or as base64 in JSON.
#[test]
fn reverses() {
    let nebula = Nebula::start().deploy("reverses", guests::REVERSES);
    let call = || nebula.request("POST", "/f/reverses");
    let octets = "application/octet-stream";
    let bytes: Vec<u8> = (0..=255).collect();
    let reversed: Vec<u8> = (0..=255).rev().collect();
    call().body(&bytes).send().is(200).has("content-type", octets).bytes(&reversed);
    call().header("content-type", octets).body(&bytes).send().is(200).bytes(&reversed);
    call().header("content-type", "image/png").body(&bytes).send().is(200).bytes(&reversed);
    let json = format!("{:?}", base64(&bytes));
    nebula.post("/f/reverses", &json).is(200).says(&format!("{:?}", base64(&reversed)));
    nebula.post("/f/reverses", "[1,2,3]").is(200).says(&format!("{:?}", base64(&[3, 2, 1])));
    call().send().is(422).says("\"there is nothing to reverse\"");
    let large = vec![7; 7 << 20];
    call().body(&large).send().is(200).bytes(&large);
}

/// NaNs are canonical, in JSON and in the guest.
#[test]
fn makes_nan() {
    let nebula = Nebula::start().deploy("makes-nan", guests::MAKES_NAN);
    let canonical = format!("[\"NaN\",\"NaN\",{},{}]", 0x7fc0_0000_u32, 0x7ff8_0000_0000_0000_u64);
    for payload in ["0", "1", "77"] {
        nebula.post("/f/makes-nan", payload).is(200).says(&canonical);
    }
}

/// The fields of a record of scalars can be sent as a query string.
#[test]
fn searches() {
    let nebula = Nebula::start().deploy("searches", guests::SEARCHES);
    let expected = json!("a b&c 3 true Some(1.5) Order::OldestFirst [\"x\", \"y\"]").to_string();
    let query = "/f/searches?text=a+b%26c&limit=3&exact=true&above=1.5&order=oldest-first&tags=x&tags=y";
    nebula.get(query).is(200).has("content-type", "application/json").says(&expected);
    let posted = json!({
        "text": "a b&c", "limit": 3, "exact": true, "above": 1.5, "order": "oldest-first", "tags": ["x", "y"],
    });
    nebula.post("/f/searches", &posted.to_string()).is(200).says(&expected);
    nebula
        .get("/f/searches?text=&limit=0&exact=false&order=newest")
        .is(200)
        .says(&json!(" 0 false None Order::Newest []").to_string());

    let wrong = |query: &str| nebula.get(&format!("/f/searches?{query}")).is(400).problem("type-mismatch");
    wrong("text=x&limit=many&exact=true&order=newest").pointer("/limit").expected("u32");
    wrong("text=x&limit=1&exact=yes&order=newest").pointer("/exact").expected("bool");
    wrong("text=x&limit=1&exact=true&order=best").pointer("/order");
    wrong("text=x&limit=1&limit=2&exact=true&order=newest").pointer("/limit");
    wrong("limit=1&exact=true&order=newest");
    wrong("text=x&limit=1&exact=true&order=newest&page=2");
    wrong("text=x&limit=1&exact=true&order=newest&page=2").mentions("found", "`page`");
    nebula.get("/f/searches?text=%ff").is(400).problem("bad-query");
}

/// Assembles a component whose `handle` returns its argument. The type must flatten to a pointer
/// and a length.
fn echo_of(ty: &str) -> Vec<u8> {
    wat(&format!(
        r#"(component
            (core module $m
                (memory (export "memory") 1)
                (global $free (mut i32) (i32.const 4096))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                    (global.set $free (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
                    (global.get $free)
                    (global.set $free (i32.add (global.get $free) (local.get 3))))
                (func (export "handle") (param i32 i32) (result i32)
                    (i32.store offset=8 (i32.const 0) (local.get 0))
                    (i32.store offset=12 (i32.const 0) (local.get 1))
                    (i32.const 8)))
            (core instance $i (instantiate $m))
            (func (export "handle") (param "it" {ty}) (result {ty})
                (canon lift (core func $i "handle")
                    (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))"#
    ))
}

#[test]
fn maps_are_objects_or_lists_of_pairs() {
    let nebula = Nebula::start();
    let named = nebula.put("named", &echo_of("(map string u32)")).is(200).json();
    assert_eq!(named["signature"], "handle: func(it: map<string, u32>) -> map<string, u32>");
    nebula.post("/f/named", r#"{"b":1,"a":2}"#).is(200).says(r#"{"b":1,"a":2}"#);
    nebula.post("/f/named", r#"{"a":-1}"#).is(400).problem("type-mismatch").pointer("/a").expected("u32");
    nebula.put("numbered", &echo_of("(map u8 (list string))")).is(200);
    nebula.post("/f/numbered", r#"[[7,["x"]],[1,[]]]"#).is(200).says(r#"[[7,["x"]],[1,[]]]"#);
}

/// The query of a function with one parameter names that parameter and nothing else.
#[test]
fn unknown_query_parameters_are_400() {
    let nebula = Nebula::start();
    nebula.put("echo", &echo_of("string")).is(200);
    nebula.get("/f/echo?it=x").is(200).says("\"x\"");
    nebula.get("/f/echo?it=x&that=y").is(400).problem("type-mismatch").mentions("found", "`that`");
    nebula.get("/f/echo?that=y").is(400).problem("type-mismatch").mentions("found", "`that`");
}
