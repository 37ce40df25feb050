//! Usual mistakes of callers and deployers: the answer says what is wrong and what is meant.

use nebula_tests::{Answer, Nebula, guests, wat};

/// A function that returns its only parameter.
struct Echo<'a> {
    /// WAT that defines the types.
    definitions: &'a str,
    name: &'a str,
    ty: &'a str,
    /// The core type of the value.
    core: &'a str,
}

impl Echo<'_> {
    fn component(&self) -> Vec<u8> {
        let Self { definitions, name, ty, core } = self;
        wat(&format!(
            r#"(component
                {definitions}
                (core module $m (func (export "handle") (param {core}) (result {core}) local.get 0))
                (core instance $i (instantiate $m))
                (func (export "handle") (param "{name}" {ty}) (result {ty})
                    (canon lift (core func $i "handle"))))"#
        ))
    }
}

/// Deploys an echo of each type, under the name of the type.
fn echoes() -> Nebula {
    let nebula = Nebula::start();
    for (ty, core) in [("u8", "i32"), ("s64", "i64"), ("u64", "i64"), ("f32", "f32"), ("f64", "f64")] {
        let echo = Echo { definitions: "", name: "value", ty, core };
        nebula.put(ty, &echo.component()).is(200);
    }
    let definitions = r#"(type $r' (record (field "id" u8))) (export $r "r" (type $r'))"#;
    let order = Echo { definitions, name: "order", ty: "$r", core: "i32" };
    nebula.put("order", &order.component()).is(200);
    nebula
}

fn json(nebula: &Nebula, path: &str, body: impl AsRef<[u8]>) -> Answer {
    nebula.request("POST", path).header("content-type", "application/json").body(body).send()
}

/// In a body and in a query.
#[test]
fn numbers_are_read_by_their_digits() {
    let nebula = echoes();
    for (function, number, expected) in [
        ("f64", "1e400", Err("1e400, which is out of range")),
        ("f32", "1e400", Err("1e400, which is out of range")),
        ("f32", "3.5e38", Err("3.5e38, which is out of range")),
        ("u64", "1e-400", Err("a number with a fraction")),
        ("u8", "255.00000000000000000001", Err("a number with a fraction")),
        ("u8", "2.55e2", Ok("255")),
        ("s64", "9e17", Ok("900000000000000000")),
        ("s64", "9007199254740993.0", Ok("9007199254740993")),
        ("f64", "1e-400", Ok("0.0")),
        // The nearest double is half-way between two floats.
        ("f32", "1.00000005960464477539062500000001", Ok("1.0000001")),
        ("f32", "1.000000059604644775390625", Ok("1.0")),
    ] {
        let body = json(&nebula, &format!("/f/{function}"), number);
        let query = nebula.get(&format!("/f/{function}?value={number}"));
        for (answer, pointer) in [(body, ""), (query, "/value")] {
            match expected {
                Ok(value) => drop(answer.is(200).says(value)),
                Err(found) => {
                    let problem = answer.is(400).problem("type-mismatch");
                    problem.pointer(pointer).expected(function).member("found", found);
                }
            }
        }
    }
}

/// The description has the schema.
#[test]
fn arguments_by_position_are_in_the_schema() {
    let nebula = Nebula::start();
    let record = nebula.put("adds", &std::fs::read(guests::ADDS).unwrap()).is(200).json();
    let schema = &record["input_schema"];
    assert_eq!(schema["type"], serde_json::json!(["object", "array"]));
    assert_eq!(schema["minItems"], 2);
    assert_eq!(schema["prefixItems"][1], schema["properties"]["b"]);
    nebula.post("/f/adds", "[1, 2]").is(200).says("3");
    nebula.post("/f/adds", r#"{"a": 1, "b": 2}"#).is(200).says("3");
    nebula.post("/f/adds", "[1]").is(400).problem("type-mismatch");
    nebula.post("/f/adds", "[1, 2, 3]").is(400).problem("type-mismatch");
}

#[test]
fn an_empty_body_is_named_with_the_expected_type() {
    let nebula = echoes().deploy("adds", guests::ADDS);
    for (function, expected) in [("order", "record { id: u8 }"), ("adds", "record { a: s64, b: s64 }")] {
        for body in ["", "  \n"] {
            let problem = json(&nebula, &format!("/f/{function}"), body).is(400).problem("invalid-json");
            problem.detail("the body is empty").member("expected", expected);
        }
    }
}

#[test]
fn byte_order_marks_are_named() {
    let nebula = echoes();
    let problem = json(&nebula, "/f/order", "\u{feff}{\"id\": 1}").is(400).problem("invalid-json");
    problem.detail("the byte-order mark of UTF-8").member("line", 1).member("column", 1);
    let utf16: Vec<u8> = "\u{feff}{\"id\": 1}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    json(&nebula, "/f/order", utf16).is(400).problem("invalid-json").detail("the byte-order mark of UTF-16");
}

#[test]
fn a_record_wrapped_in_its_parameters_name_gets_a_hint() {
    let nebula = echoes();
    let problem = json(&nebula, "/f/order", r#"{"order": {"id": 1}}"#).is(400).problem("type-mismatch");
    problem.pointer("").member("found", "an unknown field `order`").detail("send the record itself");
    json(&nebula, "/f/order", r#"{"id": 1}"#).is(200);
}

#[test]
fn unknown_names_are_answered_with_the_similar_one() {
    let nebula = echoes().deploy("adds", guests::ADDS).deploy("greets", guests::GREETS);
    let is_meant = |answer: Answer, status: u16, kind: &str, meant: &str| {
        let hint = format!("did you mean `{meant}`?");
        answer.is(status).problem(kind).member("hint", hint.as_str()).detail(&hint);
    };
    let mismatch = |answer: Answer, meant: &str| is_meant(answer, 400, "type-mismatch", meant);
    mismatch(json(&nebula, "/f/order", r#"{"ID": 1}"#), "id");
    mismatch(nebula.get("/f/order?Id=1"), "id");
    mismatch(nebula.get("/f/u8?valeu=1"), "value");
    // Functions, on both planes.
    is_meant(nebula.post("/f/greet", "\"you\""), 404, "unknown-function", "greets");
    is_meant(nebula.post("/f/greet", "\"you\""), 404, "unknown-function", "greets");
    let path = "/api/v1/functions/ordre";
    is_meant(nebula.control("GET", path).send(), 404, "unknown-function", "order");
    is_meant(nebula.control("DELETE", path).send(), 404, "unknown-function", "order");
    let steps = nebula.control("PUT", "/api/v1/pipelines/p").body(r#"{"steps": ["greats"]}"#).send();
    steps.is(422).problem("invalid-pipeline").detail("did you mean `greets`?");
    // A removed function isn't meant, not even where the name was asked for before.
    nebula.control("DELETE", "/api/v1/functions/greets").send().is(204);
    assert_eq!(nebula.post("/f/greet", "1").is(404).json()["hint"], serde_json::Value::Null);
    // Parameters of the control plane, with and without a body.
    let component = std::fs::read(guests::GREETS).unwrap();
    is_meant(nebula.put("g?folowers=may-stay", &component), 400, "bad-limit", "followers");
    is_meant(nebula.put("g?deadline-ms=5", &component), 400, "bad-limit", "deadline_ms");
    nebula
        .put("g?folowers=may-stay", &component)
        .is(400)
        .problem("bad-limit")
        .detail("unknown parameter `folowers`");
    let rollback = nebula.control("POST", "/api/v1/functions/adds/rollback?followrs=may-stay").send();
    is_meant(rollback, 400, "bad-limit", "followers");
    nebula.post("/f/g", "1").is(404);
}

nebula_tests::foreach_guest_in_unsupported!(is_tested);

/// A component of another version of WASI, as today's crates build it, is refused by that version.
#[test]
fn speaks_wasi_http_p3() {
    let component = std::fs::read(guests::SPEAKS_WASI_HTTP_P3).unwrap();
    let answer = Nebula::start().put("f", &component).is(422).problem("refused");
    answer.detail("WASI 0.3 is not supported").detail("@0.3.2`");
}

/// A valid component that needs something unsupported is refused by the name of that.
#[test]
fn unsupported_components_are_refused_by_the_name_of_what_they_need() {
    let nebula = Nebula::start();
    let plain = |imports: &str| {
        format!(
            r#"(component
                {imports}
                (core module $m (func (export "handle")))
                (core instance $i (instantiate $m))
                (func (export "handle") (canon lift (core func $i "handle"))))"#
        )
    };
    let import = |name: &str, function: &str| {
        plain(&format!(r#"(import "{name}" (instance (export "f" {function})))"#))
    };
    for (text, detail) in [
        (plain("(core module (tag))"), "the `exceptions` proposal"),
        (plain("(core module (func try catch_all end))"), "the `legacy-exceptions` proposal"),
        (plain("(type (func async))"), "`async` of the component model"),
        (
            import("wasi:http/client@0.3.2", "(func async)"),
            "WASI 0.3 is not supported (it uses `wasi:http/client@0.3.2`)",
        ),
        (import("wasi:cli/environment@0.3.0", "(func)"), "WASI 0.3 is not supported"),
        (
            import("wasi:cli/environment@0.2.0-rc-2023-11-10", "(func)"),
            "WASI 0.2.0-rc-2023-11-10 is not supported",
        ),
        // A release of 0.2 with a function that this host doesn't have.
        (import("wasi:cli/environment@0.2.99", "(func)"), "it was built for WASI 0.2.99"),
    ] {
        nebula.put("f", &wat(&text)).is(422).problem("refused").detail(detail);
    }
    let handler = r#"(component (instance $h) (export "wasi:http/handler@0.3.0" (instance $h)))"#;
    nebula.put("f", &wat(handler)).is(422).problem("refused").detail("WASI 0.3 is not supported");
}
