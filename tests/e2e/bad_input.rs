//! Bad input: each kind gets a clear error with the right status, and deployed functions keep
//! working.

use nebula_tests::{Nebula, guests, wat};

/// Asserts that a deploy is refused with this problem and that the earlier version keeps serving.
fn assert_refused(component: &[u8], status: u16, kind: &str, detail: &str) {
    let nebula = Nebula::start().deploy("f", guests::GREETS);
    nebula.put("f", component).is(status).problem(kind).detail(detail);
    nebula.put("g", component).is(status).problem(kind).detail(detail);
    nebula.post("/f/f", "\"you\"").is(200).says("\"Hello, you!\"");
    nebula.post("/f/f@v2", "\"you\"").is(404).problem("unknown-version");
    nebula.post("/f/g", "\"you\"").is(404).problem("unknown-function");
    // A failed deploy uses no version number.
    assert_eq!(nebula.redeploy("f", guests::COUNTS).json()["version"], "v2");
}

#[test]
fn an_empty_body_is_refused() {
    assert_refused(b"", 400, "not-a-component", "empty");
}

#[test]
fn a_text_file_is_refused() {
    assert_refused(b"# A title\n\nSome words.\n", 400, "not-a-component", "text");
    assert_refused(b"(component)", 400, "not-a-component", "text");
}

#[test]
fn other_binaries_are_refused() {
    assert_refused(b"\x7fELF\x02\x01\x01\0\0\0", 400, "not-a-component", "not a WebAssembly binary");
}

#[test]
fn a_core_module_is_refused() {
    assert_refused(&wat("(module (func (export \"handle\")))"), 400, "not-a-component", "core module");
}

#[test]
fn a_truncated_component_is_refused() {
    let component = std::fs::read(guests::GREETS).unwrap();
    assert_refused(&component[..component.len() / 2], 400, "not-a-component", "invalid at byte");
}

#[test]
fn a_component_without_handle_is_refused() {
    assert_refused(&wat("(component)"), 422, "refused", "exports nothing");
    let other = wat(r#"(component
            (core module $m (func (export "run")))
            (core instance $i (instantiate $m))
            (func (export "run") (canon lift (core func $i "run"))))"#);
    assert_refused(&other, 422, "refused", "exports `run`, and neither `handle`");
}

#[test]
fn a_handle_that_is_an_instance_is_refused() {
    let instance = wat(r#"(component (instance $i) (export "handle" (instance $i)))"#);
    assert_refused(&instance, 422, "refused", "`handle` is not a plain function");
}

#[test]
fn resources_are_refused() {
    let resource = wat(r#"(component
            (type $r (resource (rep i32)))
            (export $e "r" (type $r))
            (core module $m (func (export "handle") (param i32)))
            (core instance $i (instantiate $m))
            (func (export "handle") (param "it" (own $e)) (canon lift (core func $i "handle"))))"#);
    assert_refused(&resource, 422, "refused", "`it` is a resource");
}

#[test]
fn impure_imports_are_refused_by_name() {
    let component = wat(r#"(component
            (import "acme:mail/send@1.0.0" (instance (export "send" (func))))
            (import "wasi:filesystem/types@0.3.0" (instance (export "read" (func))))
            (core module $m (func (export "handle")))
            (core instance $i (instantiate $m))
            (func (export "handle") (canon lift (core func $i "handle"))))"#);
    assert_refused(
        &component,
        422,
        "refused",
        "imports `acme:mail/send@1.0.0`, `wasi:filesystem/types@0.3.0`",
    );
}

/// The host links the imported name, but with another type.
#[test]
fn imports_of_another_type_are_refused() {
    let component = wat(r#"(component
            (import "wasi:random/random@0.2.0"
                (instance (export "get-random-u64" (func (param "bits" u8) (result string)))))
            (core module $m (func (export "handle")))
            (core instance $i (instantiate $m))
            (func (export "handle") (canon lift (core func $i "handle"))))"#);
    assert_refused(&component, 422, "refused", "get-random-u64");
}

#[test]
fn more_than_one_form_is_refused() {
    let component = wat(r#"(component
            (core module $m (func (export "handle")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "handle")))
            (export "handle" (func $f))
            (instance $h (export "handle" (func $f)))
            (export "wasi:http/incoming-handler@0.2.0" (instance $h)))"#);
    assert_refused(&component, 422, "refused", "more than one");
}

#[test]
fn exported_handler_interfaces_of_another_type_are_refused() {
    for interface in ["nebula:function/handler@0.1.0", "wasi:http/incoming-handler@0.2.0"] {
        let component = wat(&format!(
            r#"(component
                (core module $m (func (export "handle")))
                (core instance $i (instantiate $m))
                (func $f (canon lift (core func $i "handle")))
                (instance $h (export "handle" (func $f)))
                (export "{interface}" (instance $h)))"#
        ));
        assert_refused(&component, 422, "refused", &format!("its `{interface}` is not the one of that name"));
        let empty = wat(&format!(r#"(component (instance $h) (export "{interface}" (instance $h)))"#));
        assert_refused(&empty, 422, "refused", "no function `handle`");
    }
}

#[test]
fn deep_nesting_is_refused_early() {
    let mut nested = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..20_000 {
        // A component section (4), its length, and everything so far as its content.
        let mut outer = b"\0asm\x0d\0\x01\0\x04".to_vec();
        let mut length = nested.len();
        while length >= 0x80 {
            outer.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
            length >>= 7;
        }
        outer.push(u8::try_from(length).unwrap());
        outer.append(&mut nested);
        nested = outer;
    }
    assert_refused(&nested, 400, "not-a-component", "nested more than");
}

#[test]
fn nondeterministic_features_are_refused() {
    for (module, feature) in [
        ("(module (memory i64 1))", "memory64"),
        ("(module (memory 1 1 shared))", "threads"),
        ("(module (type (struct)))", "gc"),
        ("(module (memory 1 1 shared) (func (drop (i32.atomic.load (i32.const 0)))))", "threads"),
    ] {
        let component = wat(&format!("(component (core {})", &module[1..]));
        assert_refused(&component, 422, "refused", &format!("the `{feature}` proposal"));
    }
}

#[test]
fn invalid_names_are_400() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS);
    let component = std::fs::read(guests::GREETS).unwrap();
    let long = "a".repeat(64);
    for name in ["Greets", "-greets", "gr_eets", "gr.eets", "gr%20eets", "gr%C3%A4ets", "..", long.as_str()] {
        nebula.put(name, &component).is(400).problem("bad-name");
        nebula.post(&format!("/f/{name}"), "\"you\"").is(400).problem("bad-name");
    }
    nebula.request("POST", "/f/gr%ffeets").send().is(400).problem("bad-name");
    nebula.request("POST", "/f/").send().is(400).problem("bad-name");
    let longest = "a".repeat(63);
    nebula.put(&longest, &component).is(200);
    nebula.post(&format!("/f/{longest}"), "\"you\"").is(200);
    nebula.put("0-9", &component).is(200);
}

#[test]
fn unknown_functions_and_paths_are_404() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS);
    nebula.post("/f/unknown", "1").is(404).problem("unknown-function").detail("`unknown`");
    for path in ["/", "/f", "/g/greets", "/F/greets", "/f/greets/", "/f/greets/below", "/api/v1/functions"] {
        nebula.get(path).is(404).problem("unknown-path");
    }
}

#[test]
fn malformed_json_is_400() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS);
    for json in [
        "",
        "{",
        r#"{"a": 1, "b": 2"#,
        r#"{"a": 1, "b": }"#,
        "{a: 1}",
        "nul",
        r#"{"a":1,"b":2} x"#,
        "\"\\ud800\"",
    ] {
        nebula.post("/f/adds", json).is(400).problem("invalid-json");
    }
    let truncated = nebula.post("/f/adds", "{\n  \"a\": 1,\n  \"b\"").is(400);
    truncated.problem("invalid-json").member("line", 3);
    nebula.post("/f/adds", r#"{"a":1,"a":2,"b":3}"#).is(400);
    let deep = "[".repeat(100_000);
    nebula.post("/f/adds", &deep).is(400);
}

#[test]
fn numbers_out_of_range_are_400() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS);
    for number in ["9223372036854775808", "-9223372036854775809", "1e400", "1.5", "1e2000000000"] {
        let answer = nebula.post("/f/adds", &format!(r#"{{"a": {number}, "b": 0}}"#)).is(400);
        let kind = answer.json()["type"].as_str().unwrap().to_owned();
        assert!(kind.ends_with(":type-mismatch") || kind.ends_with(":invalid-json"), "{answer:?}");
    }
    nebula.post("/f/adds", r#"{"a": 1.0, "b": 2e0}"#).is(200).says("3");
}

#[test]
fn invalid_utf8_is_400() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS).deploy("adds", guests::ADDS);
    let plain = nebula.request("POST", "/f/greets").header("content-type", "text/plain");
    plain.body(b"ab\xff").send().is(400).problem("not-utf8").member("valid_up_to", 2);
    let json = nebula.request("POST", "/f/greets").header("content-type", "application/json");
    json.body(b"\"\xff\"").send().is(400);
    let json = nebula.request("POST", "/f/adds").header("content-type", "application/json");
    json.body(b"{\"a\xff\": 1}").send().is(400);
}

#[test]
fn a_body_over_the_limit_is_413() {
    let nebula = Nebula::start();
    nebula.put("greets?input_bytes_max=1000", &std::fs::read(guests::GREETS).unwrap()).is(200);
    let call = |bytes: usize| nebula.request("POST", "/f/greets").body("x".repeat(bytes)).send();
    call(1000).is(200);
    call(1001).is(413).problem("body-too-large").member("bytes_max", 1000);
    // The default limit is 8 MiB.
    nebula.put("greets?input_bytes_max=default", &std::fs::read(guests::GREETS).unwrap()).is(200);
    call(1 << 20).is(200);
    // The client receives the answer although it is still sending.
    call(9 << 20).is(413).problem("body-too-large").member("bytes_max", 8 << 20);
    call(20 << 20).is(413);
}

#[test]
fn unsupported_media_types_are_415() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS);
    for media_type in ["text/html", "application/xml", "", "nonsense"] {
        let call = nebula.request("POST", "/f/adds").header("content-type", media_type);
        call.body(r#"{"a":1,"b":2}"#).send().is(415).problem("unsupported-media-type");
    }
    let call = nebula.request("POST", "/f/adds").header("content-type", "Application/JSON; charset=utf-8");
    call.body(r#"{"a":1,"b":2}"#).send().is(200);
}

/// The deploy fails, not the first call.
#[test]
fn a_component_too_large_for_an_instance_is_refused() {
    let lifted = |items: &str| {
        wat(&format!(
            r#"(component
                (core module $m {items} (func (export "handle")))
                (core instance $i (instantiate $m))
                (func (export "handle") (canon lift (core func $i "handle"))))"#
        ))
    };
    for items in [
        "(memory 20000)",
        "(memory 1) (memory 1) (memory 1) (memory 1) (memory 1)",
        "(table 30000 funcref)",
        &"(table 1 funcref)".repeat(20),
        &"(global (mut i64) (i64.const 0))".repeat(140_000),
    ] {
        assert_refused(&lifted(items), 422, "refused", "it needs more than an instance may have");
    }
    let instances = "(core instance (instantiate $m))".repeat(300);
    let many = wat(&format!(
        r#"(component
            (core module $m (memory 1) (func (export "handle")))
            {instances}
            (core instance $i (instantiate $m))
            (func (export "handle") (canon lift (core func $i "handle"))))"#
    ));
    assert_refused(&many, 422, "refused", "it needs more than an instance may have");
}

#[test]
fn limits_above_the_hosts_are_refused() {
    let nebula = Nebula::start();
    let component = std::fs::read(guests::GREETS).unwrap();
    for limit in ["memory_bytes_max", "deadline_ms", "input_bytes_max", "output_bytes_max", "log_bytes_max"] {
        let put = nebula.put(&format!("f?{limit}={}", u64::MAX), &component);
        put.is(422).problem("limit-too-high").detail(limit);
    }
}

/// A component with a function of one parameter, which traps when it is called.
struct OneParameter<'a> {
    /// WAT that defines the types.
    definitions: &'a str,
    /// The type of the parameter.
    ty: &'a str,
    /// WAT that exports the function, which is `$f`.
    exports: &'a str,
}

impl OneParameter<'_> {
    fn component(&self) -> Vec<u8> {
        let Self { definitions, ty, exports } = self;
        wat(&format!(
            r#"(component
            {definitions}
            (core module $m
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
                (func (export "handle") (param i32 i32) unreachable))
            (core instance $i (instantiate $m))
            (func $f (param "it" {ty})
                (canon lift (core func $i "handle")
                    (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
            {exports})"#
        ))
    }
}

/// Assembles a function `handle` of one parameter, which traps when it is called.
fn handle_of(definitions: &str, ty: &str) -> Vec<u8> {
    OneParameter { definitions, ty, exports: r#"(export "handle" (func $f))"# }.component()
}

/// Defines `$t17` in a few hundred bytes of WAT. A value of it takes 262,144 bytes.
fn nested_tuples() -> String {
    let mut definitions = "(type $t0 (tuple u8 u8))".to_owned();
    for index in 1..18 {
        let inner = index - 1;
        definitions += &format!("(type $t{index} (tuple $t{inner} $t{inner}))");
    }
    definitions
}

#[test]
fn lists_of_a_fixed_length_are_refused() {
    assert_refused(&handle_of("", "(list u8 2)"), 422, "refused", "`fixed-length-lists`");
}

/// The bound holds for a function's signature and for the type that the message about a wrong
/// interface shows.
#[test]
fn types_too_large_to_print_are_refused() {
    let definitions = nested_tuples();
    assert_refused(
        &handle_of(&definitions, "(list $t17)"),
        422,
        "refused",
        "more than 10000 types, written out",
    );

    let interface = "nebula:function/handler@0.1.0";
    let exports =
        format!(r#"(instance $h (export "handle" (func $f))) (export "{interface}" (instance $h))"#);
    let other = OneParameter { definitions: &definitions, ty: "(list $t17)", exports: &exports }.component();
    let answer = Nebula::start().put("f", &other).is(422);
    assert!(answer.body().len() < 2_000, "{} bytes", answer.body().len());
    answer.problem("refused").detail("is not the one of that name: it has `handle: func(it: list<tuple<");
}

/// Records of omitted options are short in JSON and large in memory.
#[test]
fn an_input_that_decodes_to_too_much_memory_is_413() {
    let fields: String = (0..100).map(|index| format!("(field \"option-{index}\" (option u32))")).collect();
    let definitions = format!("(type $r' (record {fields})) (export $r \"r\" (type $r'))");
    let nebula = Nebula::start();
    nebula.put("f", &handle_of(&definitions, "(list $r)")).is(200);
    nebula.post("/f/f", "[{},{}]").is(502).problem("trap");
    let before = peak_kib(nebula.pid());
    let document = format!("[{}{{}}]", "{},".repeat(100_000));
    let problem = nebula.post("/f/f", &document).is(413).problem("decoded-too-large");
    problem.member("bytes_max", 16 * 1024 * 1024 + 32 * document.len());
    let grown = peak_kib(nebula.pid()) - before;
    assert!(grown < 64 * 1024, "the server took {grown} KiB to detect it");
    nebula.post("/f/f", "[{},{}]").is(502).problem("trap");
}

/// Returns the peak resident memory of a process.
pub(crate) fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
