//! What bad input gets: a clear error of the right status, and nothing lost.

use nebula_tests::{Nebula, guests, wat};

/// Deploys nothing and says why; what was deployed before goes on serving.
fn refused(component: &[u8], status: u16, kind: &str, detail: &str) {
    let nebula = Nebula::start().deploy("f", guests::GREETS);
    nebula.put("f", component).is(status).problem(kind).detail(detail);
    nebula.put("g", component).is(status).problem(kind).detail(detail);
    nebula.post("/f/f", "\"you\"").is(200).says("\"Hello, you!\"");
    nebula.post("/f/f@v2", "\"you\"").is(404).problem("unknown-version");
    nebula.post("/f/g", "\"you\"").is(404).problem("unknown-function");
    // Nor do failed deploys use versions up.
    assert_eq!(nebula.redeploy("f", guests::COUNTS).json()["version"], "v2");
}

#[test]
fn an_empty_body_is_no_component() {
    refused(b"", 400, "not-a-component", "empty");
}

#[test]
fn a_text_file_is_no_component() {
    refused(b"# A title\n\nSome words.\n", 400, "not-a-component", "text");
    refused(b"(component)", 400, "not-a-component", "text");
}

#[test]
fn other_binaries_are_no_components() {
    refused(b"\x7fELF\x02\x01\x01\0\0\0", 400, "not-a-component", "not a WebAssembly binary");
}

#[test]
fn a_core_module_is_no_component() {
    refused(&wat("(module (func (export \"handle\")))"), 400, "not-a-component", "core module");
}

#[test]
fn a_truncated_component_is_refused() {
    let component = std::fs::read(guests::GREETS).unwrap();
    refused(&component[..component.len() / 2], 400, "not-a-component", "invalid at byte");
}

#[test]
fn a_component_without_handle_is_refused() {
    refused(&wat("(component)"), 422, "refused", "exports nothing");
    let other = wat(r#"(component
            (core module $m (func (export "run")))
            (core instance $i (instantiate $m))
            (func (export "run") (canon lift (core func $i "run"))))"#);
    refused(&other, 422, "refused", "exports `run`, and neither `handle`");
}

#[test]
fn a_handle_that_is_no_function_is_refused() {
    let instance = wat(r#"(component (instance $i) (export "handle" (instance $i)))"#);
    refused(&instance, 422, "refused", "`handle` is not a plain function");
}

#[test]
fn resources_are_refused() {
    let resource = wat(r#"(component
            (type $r (resource (rep i32)))
            (export $e "r" (type $r))
            (core module $m (func (export "handle") (param i32)))
            (core instance $i (instantiate $m))
            (func (export "handle") (param "it" (own $e)) (canon lift (core func $i "handle"))))"#);
    refused(&resource, 422, "refused", "`it` is a resource");
}

#[test]
fn imports_that_are_not_pure_are_refused_by_name() {
    let component = wat(r#"(component
            (import "acme:mail/send@1.0.0" (instance (export "send" (func))))
            (import "wasi:filesystem/types@0.3.0" (instance (export "read" (func))))
            (core module $m (func (export "handle")))
            (core instance $i (instantiate $m))
            (func (export "handle") (canon lift (core func $i "handle"))))"#);
    refused(&component, 422, "refused", "imports `acme:mail/send@1.0.0`, `wasi:filesystem/types@0.3.0`");
}

/// A name that is linked, with another shape.
#[test]
fn imports_of_another_shape_are_refused() {
    let component = wat(r#"(component
            (import "wasi:random/random@0.2.0"
                (instance (export "get-random-u64" (func (param "bits" u8) (result string)))))
            (core module $m (func (export "handle")))
            (core instance $i (instantiate $m))
            (func (export "handle") (canon lift (core func $i "handle"))))"#);
    refused(&component, 422, "refused", "get-random-u64");
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
    refused(&component, 422, "refused", "more than one");
}

#[test]
fn known_interfaces_of_another_shape_are_refused() {
    for interface in ["nebula:function/handler@0.1.0", "wasi:http/incoming-handler@0.2.0"] {
        let component = wat(&format!(
            r#"(component
                (core module $m (func (export "handle")))
                (core instance $i (instantiate $m))
                (func $f (canon lift (core func $i "handle")))
                (instance $h (export "handle" (func $f)))
                (export "{interface}" (instance $h)))"#
        ));
        refused(&component, 422, "refused", &format!("its `{interface}` is not the one of that name"));
        let empty = wat(&format!(r#"(component (instance $h) (export "{interface}" (instance $h)))"#));
        refused(&empty, 422, "refused", "no function `handle`");
    }
}

#[test]
fn deep_nesting_is_refused_before_it_costs_anything() {
    let mut nested = b"\0asm\x0d\0\x01\0".to_vec();
    for _ in 0..20_000 {
        // A component section (4), its length, and in it all that there was so far.
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
    refused(&nested, 400, "not-a-component", "nested more than");
}

#[test]
fn features_that_are_not_deterministic_are_refused() {
    for module in [
        "(module (memory i64 1))",
        "(module (memory 1 1 shared))",
        "(module (type (struct)))",
        "(module (memory 1 1 shared) (func (drop (i32.atomic.load (i32.const 0)))))",
    ] {
        let component = wat(&format!("(component (core {})", &module[1..]));
        refused(&component, 400, "not-a-component", "invalid at byte");
    }
}

#[test]
fn names_are_checked() {
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
fn unknown_functions_and_paths() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS);
    nebula.post("/f/unknown", "1").is(404).problem("unknown-function").detail("`unknown`");
    for path in ["/", "/f", "/g/greets", "/F/greets", "/f/greets/", "/f/greets/below", "/api/v1/functions"] {
        nebula.get(path).is(404).problem("unknown-path");
    }
}

#[test]
fn json_that_is_none() {
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
fn numbers_out_of_range() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS);
    for number in ["9223372036854775808", "-9223372036854775809", "1e400", "1.5", "1e2000000000"] {
        let answer = nebula.post("/f/adds", &format!(r#"{{"a": {number}, "b": 0}}"#)).is(400);
        let kind = answer.json()["type"].as_str().unwrap().to_owned();
        assert!(kind.ends_with(":type-mismatch") || kind.ends_with(":invalid-json"), "{answer:?}");
    }
    nebula.post("/f/adds", r#"{"a": 1.0, "b": 2e0}"#).is(200).says("3");
}

#[test]
fn text_that_is_not_utf8() {
    let nebula = Nebula::start().deploy("greets", guests::GREETS).deploy("adds", guests::ADDS);
    let plain = nebula.request("POST", "/f/greets").header("content-type", "text/plain");
    plain.body(b"ab\xff").send().is(400).problem("not-utf8").member("valid_up_to", 2);
    let json = nebula.request("POST", "/f/greets").header("content-type", "application/json");
    json.body(b"\"\xff\"").send().is(400);
    let json = nebula.request("POST", "/f/adds").header("content-type", "application/json");
    json.body(b"{\"a\xff\": 1}").send().is(400);
}

#[test]
fn bodies_over_the_limit() {
    let nebula = Nebula::start();
    nebula.put("greets?input_bytes_max=1000", &std::fs::read(guests::GREETS).unwrap()).is(200);
    let call = |bytes: usize| nebula.request("POST", "/f/greets").body("x".repeat(bytes)).send();
    call(1000).is(200);
    call(1001).is(413).problem("body-too-large").member("bytes_max", 1000);
    // By default 8 MiB.
    nebula.redeploy("greets", guests::GREETS);
    call(1 << 20).is(200);
    // The client gets to hear of it, though it would have gone on sending.
    call(9 << 20).is(413).problem("body-too-large").member("bytes_max", 8 << 20);
    call(20 << 20).is(413);
}

#[test]
fn media_types_that_are_not_taken() {
    let nebula = Nebula::start().deploy("adds", guests::ADDS);
    for media_type in ["text/plain", "application/xml", "", "nonsense"] {
        let call = nebula.request("POST", "/f/adds").header("content-type", media_type);
        call.body(r#"{"a":1,"b":2}"#).send().is(415).problem("unsupported-media-type");
    }
    let call = nebula.request("POST", "/f/adds").header("content-type", "Application/JSON; charset=utf-8");
    call.body(r#"{"a":1,"b":2}"#).send().is(200);
}

/// What no instance is given is refused when it is deployed, not when it is called.
#[test]
fn a_component_that_fits_no_instance_is_refused() {
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
        refused(&lifted(items), 422, "refused", "it needs more than an instance may have");
    }
    let instances = "(core instance (instantiate $m))".repeat(300);
    let many = wat(&format!(
        r#"(component
            (core module $m (memory 1) (func (export "handle")))
            {instances}
            (core instance $i (instantiate $m))
            (func (export "handle") (canon lift (core func $i "handle"))))"#
    ));
    refused(&many, 422, "refused", "it needs more than an instance may have");
}

#[test]
fn limits_beyond_the_hosts_are_refused() {
    let nebula = Nebula::start();
    let component = std::fs::read(guests::GREETS).unwrap();
    for limit in ["memory_bytes_max", "deadline_ms", "input_bytes_max", "output_bytes_max", "log_bytes_max"] {
        let put = nebula.put(&format!("f?{limit}={}", u64::MAX), &component);
        put.is(422).problem("limit-too-high").detail(limit);
    }
}

/// A function of one parameter whose type is `ty`, over `definitions`; it traps when it is called.
fn of_type(definitions: &str, ty: &str) -> Vec<u8> {
    exporting(definitions, ty, r#"(export "handle" (func $f))"#)
}

/// The same function as `$f`, exported as `exports` say.
fn exporting(definitions: &str, ty: &str, exports: &str) -> Vec<u8> {
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

/// `$t17`, in a few hundred bytes, which is 262,144 bytes in a value.
fn tuples_of_tuples() -> String {
    let mut definitions = "(type $t0 (tuple u8 u8))".to_owned();
    for index in 1..18 {
        let inner = index - 1;
        definitions += &format!("(type $t{index} (tuple $t{inner} $t{inner}))");
    }
    definitions
}

#[test]
fn lists_of_a_fixed_length_are_refused() {
    refused(&of_type("", "(list u8 4)"), 400, "not-a-component", "ixed-length lists");
}

/// Neither as a function's type, nor to say what was found in the place of a known interface's.
#[test]
fn types_too_large_to_be_written_out_are_refused() {
    let definitions = tuples_of_tuples();
    refused(&of_type(&definitions, "(list $t17)"), 422, "refused", "more than 10000 types, written out");

    let interface = "nebula:function/handler@0.1.0";
    let exports =
        format!(r#"(instance $h (export "handle" (func $f))) (export "{interface}" (instance $h))"#);
    let other = exporting(&definitions, "(list $t17)", &exports);
    let answer = Nebula::start().put("f", &other).is(422);
    assert!(answer.body().len() < 2_000, "{} bytes", answer.body().len());
    answer.problem("refused").detail("is not the one of that name: it has `handle: func(it: list<tuple<");
}

/// Options that were left out are small in JSON only.
#[test]
fn an_input_whose_values_take_too_much_is_refused() {
    let fields: String = (0..100).map(|index| format!("(field \"option-{index}\" (option u32))")).collect();
    let definitions = format!("(type $r' (record {fields})) (export $r \"r\" (type $r'))");
    let nebula = Nebula::start();
    nebula.put("f", &of_type(&definitions, "(list $r)")).is(200);
    nebula.post("/f/f", "[{},{}]").is(502).problem("trap");
    let before = peak_kib(nebula.pid());
    let document = format!("[{}{{}}]", "{},".repeat(100_000));
    let problem = nebula.post("/f/f", &document).is(413).problem("decoded-too-large");
    problem.member("bytes_max", 16 * 1024 * 1024 + 32 * document.len());
    let grown = peak_kib(nebula.pid()) - before;
    assert!(grown < 64 * 1024, "it took {grown} KiB to find out");
    nebula.post("/f/f", "[{},{}]").is(502).problem("trap");
}

/// The most memory that a process has had at once.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
