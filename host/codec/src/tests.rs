//! The codec on types that wasmtime reflects from components, written in WAT.

mod documents;
mod mistakes;
mod numbers;
mod schemas;

use proptest::prelude::*;
use wasmtime::component::Val;

use crate::testing::{function, reflected_type, value_of};
use crate::{
    DecodeError, Field, Params, Primitive, Signature, Type, UnsupportedType, decode, decode_query, encode,
    json_schema, parse_type, reflect, reflect_excerpt, signature_text,
};

/// A type that nests all others but maps.
fn everything() -> Type {
    reflected_type(
        r#"(type $kind' (enum "low" "high-er"))
           (import "kind" (type $kind (eq $kind')))
           (type $marks' (flags "a" "b" "c"))
           (import "marks" (type $marks (eq $marks')))
           (type $shape' (variant (case "point") (case "circle" f64) (case "named" (tuple string u8))))
           (import "shape" (type $shape (eq $shape')))
           (type $inner' (record (field "bytes" (list u8)) (field "maybe" (option (option s16)))
                                 (field "shapes" (list $shape))))
           (import "inner" (type $inner (eq $inner')))
           (type $all' (record (field "flag" bool) (field "big" u64) (field "small" s8) (field "signed" s64)
                    (field "ratio" f32) (field "exact" f64) (field "letter" char) (field "kind" $kind)
                    (field "marks" $marks) (field "inner" $inner) (field "outcome" (result $inner (error string)))
                    (field "empty" (result)) (field "note" (option string))))
           (import "all" (type $all (eq $all')))"#,
        "$all",
    )
}

fn json(ty: &Type, val: &Val) -> String {
    let mut out = Vec::new();
    encode(ty, val, &mut out);
    String::from_utf8(out).unwrap()
}

fn decode_one(ty: &Type, json: &[u8]) -> Result<Val, DecodeError> {
    decode(&[Field::new("x", ty.clone())], json).map(|mut vals| vals.remove(0))
}

#[test]
fn arbitrary_bytes_decode_or_return_an_error() {
    let ty = everything();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(512));
    let strategy = (value_of(&ty), any::<proptest::sample::Index>(), any::<u8>(), any::<Vec<u8>>());
    runner
        .run(&strategy, |(val, at, byte, noise)| {
            let mut bytes = json(&ty, &val).into_bytes();
            let at = at.index(bytes.len());
            let _ = decode_one(&ty, &bytes[..at]).is_ok();
            bytes[at] = byte;
            let _ = decode_one(&ty, &bytes).is_ok();
            let _ = decode_one(&ty, &noise).is_ok();
            Ok(())
        })
        .unwrap();
}

fn mismatch(ty: &Type, json: &str) -> (String, String, String) {
    match decode_one(ty, json.as_bytes()) {
        Err(DecodeError::Mismatch { at, expected, found, .. }) => (at, expected, found),
        other => panic!("{json} gave {other:?}"),
    }
}

#[test]
fn mismatch_reports_pointer_expected_type_and_found_value() {
    let ty = reflected_type(
        r#"(type $r' (record (field "a/b" (list (tuple string (list f64)))) (field "n" (option u8))))
           (import "r" (type $r (eq $r')))"#
            .replace("a/b", "ab")
            .as_str(),
        "$r",
    );
    assert_eq!(
        mismatch(&ty, r#"{"ab":[["x",[1,2,"three"]]]}"#),
        ("/ab/0/1/2".to_owned(), "f64".to_owned(), "a string".to_owned())
    );
    assert_eq!(mismatch(&ty, r#"{"ab":[],"n":256}"#).0, "/n");
    assert_eq!(mismatch(&ty, r#"{"ab":[],"n":256}"#).2, "256, which is out of range");
    assert_eq!(mismatch(&ty, r#"{"n":1}"#).2, "no field `ab`");
    assert_eq!(mismatch(&ty, r#"{"ab":[],"extra":1}"#).2, "an unknown field `extra`");
    assert_eq!(mismatch(&ty, r#"{"ab":[],"ab":[]}"#).2, "the field `ab` twice");
    assert_eq!(mismatch(&ty, "[]").2, "an array");
}

#[test]
fn truncated_json_is_a_syntax_error() {
    let ty = reflected_type("", "(list u32)");
    assert!(matches!(decode_one(&ty, b"[1,2"), Err(DecodeError::Syntax { line: 1, column: 4, .. })));
    assert!(matches!(decode_one(&ty, b"[] x"), Err(DecodeError::Syntax { .. })));
}

#[test]
fn integers_of_64_bits_decode_from_numbers_and_strings() {
    let ty = reflected_type("", "u64");
    let max = Val::U64(u64::MAX);
    assert_eq!(decode_one(&ty, b"18446744073709551615").unwrap(), max);
    assert_eq!(decode_one(&ty, b"\"18446744073709551615\"").unwrap(), max);
    assert_eq!(mismatch(&ty, "18446744073709551616").1, "u64");
    assert_eq!(mismatch(&ty, "-1").2, "-1, which is out of range");
    assert_eq!(mismatch(&ty, "1.5").2, "a number with a fraction");
}

#[test]
fn non_finite_floats_are_strings() {
    let ty = reflected_type("", "f32");
    assert_eq!(decode_one(&ty, b"\"-Infinity\"").unwrap(), Val::Float32(f32::NEG_INFINITY));
    assert_eq!(json(&ty, &Val::Float32(f32::NAN)), "\"NaN\"");
    assert_eq!(json(&ty, &Val::Float32(0.1)), "0.1");
    assert_eq!(mismatch(&ty, "1e39").2, "1e39, which is out of range");
}

#[test]
fn maps_are_objects_or_arrays_of_pairs() {
    let ty = reflected_type("", "(map string u8)");
    let entry = |key: &str, value| (Val::String(key.to_owned()), Val::U8(value));
    let val = decode_one(&ty, br#"{"b":1,"a":2}"#).unwrap();
    assert_eq!(val, Val::Map(vec![entry("b", 1), entry("a", 2)]));
    assert_eq!(json(&ty, &val), r#"{"b":1,"a":2}"#);
    assert_eq!(mismatch(&ty, r#"{"a":1,"a":2}"#).2, "the key `a` twice");
    assert_eq!(mismatch(&ty, r#"{"a":1,"b":256}"#).0, "/b");
    assert_eq!(mismatch(&ty, r#"[["a",1]]"#).2, "an array");
    // A guest may return a key twice.
    assert_eq!(json(&ty, &Val::Map(vec![entry("a", 1), entry("b", 2), entry("a", 3)])), r#"{"b":2,"a":3}"#);

    let ty = reflected_type("", "(map u8 string)");
    let val = decode_one(&ty, br#"[[1,"a"],[2,"b"]]"#).unwrap();
    assert_eq!(json(&ty, &val), r#"[[1,"a"],[2,"b"]]"#);
    assert_eq!(mismatch(&ty, r#"[[1,"a"],[1.0,"b"]]"#).2, "the key `1` twice");
    assert_eq!(
        mismatch(&ty, r#"[[1,"a"],[1]]"#),
        ("/1".to_owned(), "map<u8, string>".to_owned(), "an entry that isn't a pair".to_owned())
    );
    assert_eq!(mismatch(&ty, r#"[1]"#).2, "an entry that isn't an array");
    assert_eq!(mismatch(&ty, r#"[[1,2]]"#).0, "/0/1");
}

/// wasmtime reflects them, but no such function can be deployed.
#[test]
fn fixed_length_lists_are_refused() {
    let reason = reflect(&function("", &[("x", "(list (list u8 2))")], None)).unwrap_err();
    assert_eq!(reason.to_string(), "`x[]` is a fixed-length list, which has no JSON form");
}

#[test]
fn integers_in_strings_are_digits() {
    for text in ["\"+5\"", "\"\"", "\"5.0\"", "\" 5\""] {
        assert_eq!(mismatch(&Type::S64, text).2, "a string that isn't an integer of this type");
    }
}

/// A JSON value of a kind that a type doesn't take is a mismatch at its place, not a syntax
/// error.
#[test]
fn values_of_another_kind_are_mismatches() {
    let [number, string] = [Type::Primitive(Primitive::U8), Type::STRING];
    let params = |count: usize| {
        vec![Field::new("a", number.clone()), Field::new("b", string.clone())][..count].to_vec()
    };
    let one = |text: &str| vec![Field::new("a", parse_type(text).unwrap())];
    let anything = ["null", "true", "1", "-1", "1.5", "\"x\"", "\"\\n\"", "[]", "{}"];
    for (params, before, after, pointer, found, fitting) in [
        (params(2), "", "", "", "neither an object nor an array", &["[]", "{}"][..]),
        (params(0), "", "", "", "a value", &["null", "[]", "{}"]),
        (one("option<option<u8>>"), "", "", "", "neither `null` nor an object", &["null", "{}"]),
        (one("flags { f }"), "[", "]", "", "an item that isn't a string", &["\"x\"", "\"\\n\""]),
        (one("result"), "{\"ok\":", "}", "", "a payload for `ok`, which has none", &["null"]),
        (one("map<u8, u8>"), "[", "]", "/0", "an entry that isn't an array", &["[]"]),
    ] {
        for value in anything.iter().filter(|value| !fitting.contains(value)) {
            let document = format!("{before}{value}{after}");
            match decode(&params, document.as_bytes()) {
                Err(DecodeError::Mismatch { at, found: reported, .. }) => {
                    assert_eq!((at.as_str(), reported.as_str()), (pointer, found), "{document}");
                }
                other => panic!("{document} gave {other:?}"),
            }
        }
    }
}

/// Each value has one JSON form.
#[test]
fn cases_without_payload_are_strings() {
    let ty = reflected_type(
        r#"(type $v' (variant (case "bare") (case "full" u8))) (import "v" (type $v (eq $v')))"#,
        "$v",
    );
    assert_eq!(decode_one(&ty, b"\"bare\"").unwrap(), Val::Variant("bare".to_owned(), None));
    assert_eq!(mismatch(&ty, r#"{"bare":null}"#).2, "a payload for `bare`, which has none: send a string");
    assert_eq!(mismatch(&ty, "\"full\"").2, "`full` without its payload");
    let ty = reflected_type("", "(result)");
    assert_eq!(decode_one(&ty, br#"{"ok":null}"#).unwrap(), Val::Result(Ok(None)));
    assert_eq!(mismatch(&ty, "\"ok\"").2, "a string");
    assert_eq!(mismatch(&ty, r#"{"ok":1}"#).2, "a payload for `ok`, which has none");
}

#[test]
fn query_parameters_decode_to_scalars_and_options() {
    let params =
        [Field::new("n", reflected_type("", "u32")), Field::new("s", reflected_type("", "(option string)"))];
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(
        decode_query(&params, &[pair("n", "7"), pair("s", "8")]).unwrap(),
        [Val::U32(7), Val::Option(Some(Box::new(Val::String("8".to_owned()))))]
    );
    assert!(decode_query(&params, &[pair("n", "seven")]).is_err());
    assert!(decode_query(&params, &[pair("m", "7")]).is_err());
    assert_eq!(decode_query(&params[..1], &[pair("n", "7")]).unwrap(), [Val::U32(7)]);
}

#[test]
fn unknown_query_parameters_are_refused() {
    let refused = |params: &Params, pairs: &[(&str, &str)]| {
        let pairs: Vec<_> =
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        match decode_query(params, &pairs) {
            Err(DecodeError::Mismatch { at, expected, found, .. }) => (at, expected, found),
            other => panic!("{pairs:?} gave {other:?}"),
        }
    };
    let record = reflected_type(&options(1), "$many");
    for ty in [
        reflected_type("", "u32"),
        reflected_type("", "(option u32)"),
        reflected_type("", "(list u32)"),
        record,
    ] {
        let params = [Field::new("n", ty)];
        let (at, expected, found) = refused(&params, &[("n", "7"), ("m", "7")]);
        assert_eq!(at, "");
        assert!(expected.starts_with("record { "), "{expected}");
        assert!(found.starts_with("an unknown "), "{found}");
    }
    // The pointer of a wrong parameter is its name.
    let params = [Field::new("n", reflected_type("", "u32"))];
    assert_eq!(refused(&params, &[("n", "x")]).0, "/n");
    assert_eq!(refused(&params, &[("n", "1"), ("n", "2")]).0, "/n");
    assert_eq!(refused(&params, &[]).2, "no parameter of that name");
    assert_eq!(
        decode_query(&[Field::new("n", reflected_type("", "(list u32)"))], &[]).unwrap(),
        [Val::List(vec![])]
    );
}

#[test]
fn signature_text_is_wit() {
    let params = vec![Field::new("rows", reflected_type("", "(list (tuple string (option f64)))"))];
    let result = Some(reflected_type("", "(result (error string))"));
    assert_eq!(
        signature_text("handle", &Signature { params, result }),
        "handle: func(rows: list<tuple<string, option<f64>>>) -> result<_, string>"
    );
}

#[test]
fn schema_lists_cases_and_required_fields() {
    let ty = everything();
    let schema = json_schema(&ty);
    assert_eq!(
        schema["properties"]["kind"],
        serde_json::json!({"type": "string", "enum": ["low", "high-er"]})
    );
    assert_eq!(schema["additionalProperties"], serde_json::json!(false));
    assert!(!schema["required"].as_array().unwrap().contains(&serde_json::json!("note")));
}

/// Defines `$many`, a record of `count` options.
fn options(count: usize) -> String {
    let fields: String =
        (0..count).map(|index| format!("(field \"an-option-{index}\" (option u32))")).collect();
    format!("(type $many' (record {fields})) (import \"many\" (type $many (eq $many')))")
}

/// An absent option takes no byte to send, but a name and a value to hold.
#[test]
fn memory_of_values_is_bounded_by_the_length_of_the_document() {
    let ty = reflected_type(&options(100), "(list $many)");
    let empty = |count: usize| format!("[{}{{}}]", "{},".repeat(count - 1));
    assert!(decode_one(&ty, empty(1_000).as_bytes()).is_ok());
    let Err(DecodeError::TooLarge { at, bytes_max }) = decode_one(&ty, empty(100_000).as_bytes()) else {
        panic!("a million options were decoded");
    };
    assert!(bytes_max < 32 << 20, "{bytes_max}");
    // docs/wit.md and the constants in `decode/state` assume this.
    assert_eq!(size_of::<Val>(), 40);
    let index: usize = at.strip_prefix('/').unwrap().parse().unwrap();
    assert!((1_000..10_000).contains(&index), "{at}");
}

/// Documents of 8 MiB.
#[test]
fn long_documents_stay_within_the_memory_limit() {
    let len = 8 << 20;
    for (ty, item) in [
        ("f64", "1,"),
        ("f64", "-0.25,"),
        ("u64", "12345,"),
        ("string", "\"ab\","),
        ("(tuple u8 u8)", "[1,2],"),
        ("(list f64)", "[1,2,3,4,5,6,7,8],"),
    ] {
        let list = reflected_type("", &format!("(list {ty})"));
        let mut document = format!("[{}", item.repeat(len / item.len() - 1));
        document.pop();
        document.push(']');
        assert!(decode_one(&list, document.as_bytes()).is_ok(), "{ty}: {item}");
    }
    let bytes = format!("\"{}\"", "A".repeat(len - 4));
    assert!(decode_one(&reflected_type("", "(list u8)"), bytes.as_bytes()).is_ok());
}

/// Defines `$t0` to `$t{times}`, each twice the one before: `$t17` is 131,072 pairs, written out.
fn doubled(times: usize) -> String {
    let mut definitions = "(type $t0 (tuple u8 u8))".to_owned();
    for index in 1..=times {
        let inner = index - 1;
        definitions += &format!("(type $t{index} (tuple $t{inner} $t{inner}))");
    }
    definitions
}

#[test]
fn limits_of_a_signature_count_shared_types_as_written_out() {
    let bomb = function(&doubled(17), &[("x", "$t17")], None);
    assert_eq!(reflect(&bomb), Err(UnsupportedType::TooManyTypes));

    // The limit is for all parameters and the result together.
    let half = function(&doubled(11), &[("x", "$t11")], None);
    let signature = reflect(&half).unwrap();
    let twice = function(&doubled(11), &[("a", "$t11"), ("b", "$t11")], Some("$t11"));
    assert_eq!(reflect(&twice), Err(UnsupportedType::TooManyTypes));

    let long = "x".repeat(90_000);
    let cases = format!("(type $e' (enum \"{long}\")) (import \"e\" (type $e (eq $e')))");
    let names = function(&cases, &[("x", "(tuple $e $e $e)")], None);
    assert_eq!(reflect(&names), Err(UnsupportedType::NamesTooLong));

    // Errors show the beginning.
    let shown = mismatch(&signature.params[0].ty, "1").1;
    assert!(shown.starts_with("tuple<tuple<") && shown.ends_with('…') && shown.chars().count() == 301);
    let shown = reflect_excerpt("handle", &bomb).unwrap();
    assert!(shown.starts_with("handle: func(x: tuple<tuple<") && shown.ends_with('…'));
    assert_eq!(shown.chars().count(), 301);
}

/// Types that the walk doesn't reach are placeholders, which never show.
#[test]
fn excerpt_of_a_signature_is_the_beginning_of_its_text() {
    let definitions =
        options(40) + "(type $v' (variant (case \"a\" $many) (case \"b\")))(import \"v\" (type $v (eq $v')))";
    let func = function(&definitions, &[("x", "(list $v)"), ("y", "(map u8 $v)")], Some("$v"));
    let whole = signature_text("handle", &reflect(&func).unwrap());
    let shown = reflect_excerpt("handle", &func).unwrap();
    assert!(whole.starts_with(shown.strip_suffix('…').unwrap()), "{shown}");
}

/// A long input isn't sent back.
#[test]
fn errors_show_an_excerpt_of_the_input() {
    let ty = reflected_type(&options(1), "$many");
    let (_, expected, found) = mismatch(&ty, &format!("{{\"{}\":1}}", "k".repeat(100_000)));
    assert_eq!(expected, "record { an-option-0: option<u32> }");
    assert!(found.starts_with("an unknown field `kkk") && found.chars().count() == 301);
}
