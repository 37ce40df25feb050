//! The codec against real types: those of components, compiled from WAT.

mod documents;
mod schemas;

use proptest::prelude::*;
use wasmtime::component::{Type as Reflected, Val};

use crate::testing::{reflect, reflected, value_of};

use super::{
    DecodeError, Signature, Type, UnsupportedType, decode, decode_query, encode, json_schema,
    reflect_excerpt, signature_text,
};

/// One type with a bit of everything, nested.
fn everything() -> Type {
    reflect(
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
    decode(&[("x".to_owned(), ty.clone())], json).map(|mut vals| vals.remove(0))
}

#[test]
fn any_bytes_decode_or_give_an_error() {
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
        Err(DecodeError::Mismatch { at, expected, found }) => (at, expected, found),
        other => panic!("{json} gave {other:?}"),
    }
}

#[test]
fn a_mismatch_is_pointed_at() {
    let ty = reflect(
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
    let ty = reflect("", "(list u32)");
    assert!(matches!(decode_one(&ty, b"[1,2"), Err(DecodeError::Syntax { line: 1, column: 4, .. })));
    assert!(matches!(decode_one(&ty, b""), Err(DecodeError::Syntax { .. })));
    assert!(matches!(decode_one(&ty, b"[] x"), Err(DecodeError::Syntax { .. })));
}

#[test]
fn wide_integers_come_as_numbers_or_strings() {
    let ty = reflect("", "u64");
    let max = Val::U64(u64::MAX);
    assert_eq!(decode_one(&ty, b"18446744073709551615").unwrap(), max);
    assert_eq!(decode_one(&ty, b"\"18446744073709551615\"").unwrap(), max);
    assert_eq!(mismatch(&ty, "18446744073709551616").1, "u64");
    assert_eq!(mismatch(&ty, "-1").2, "-1, which is out of range");
    assert_eq!(mismatch(&ty, "1.5").2, "a number with a fraction");
}

#[test]
fn floats_have_their_special_values() {
    let ty = reflect("", "f32");
    assert_eq!(decode_one(&ty, b"\"-Infinity\"").unwrap(), Val::Float32(f32::NEG_INFINITY));
    assert_eq!(json(&ty, &Val::Float32(f32::NAN)), "\"NaN\"");
    assert_eq!(json(&ty, &Val::Float32(0.1)), "0.1");
    assert_eq!(mismatch(&ty, "1e39").2, "1e39, which is out of range");
}

#[test]
fn maps_are_objects_or_pairs() {
    let ty = reflect("", "(map string u8)");
    let entry = |key: &str, value| (Val::String(key.to_owned()), Val::U8(value));
    let val = decode_one(&ty, br#"{"b":1,"a":2}"#).unwrap();
    assert_eq!(val, Val::Map(vec![entry("b", 1), entry("a", 2)]));
    assert_eq!(json(&ty, &val), r#"{"b":1,"a":2}"#);
    assert_eq!(mismatch(&ty, r#"{"a":1,"a":2}"#).2, "the key `a` twice");
    assert_eq!(mismatch(&ty, r#"{"a":1,"b":256}"#).0, "/b");
    assert_eq!(mismatch(&ty, r#"[["a",1]]"#).2, "an array");
    // A guest may answer with a key twice.
    assert_eq!(json(&ty, &Val::Map(vec![entry("a", 1), entry("b", 2), entry("a", 3)])), r#"{"b":2,"a":3}"#);

    let ty = reflect("", "(map u8 string)");
    let val = decode_one(&ty, br#"[[1,"a"],[2,"b"]]"#).unwrap();
    assert_eq!(json(&ty, &val), r#"[[1,"a"],[2,"b"]]"#);
    assert_eq!(mismatch(&ty, r#"[[1,"a"],[1.0,"b"]]"#).2, "the key `1` twice");
    assert_eq!(
        mismatch(&ty, r#"[[1,"a"],[1]]"#),
        ("/1".to_owned(), "map<u8, string>".to_owned(), "an entry that is no pair".to_owned())
    );
    assert_eq!(mismatch(&ty, r#"[1]"#).2, "an entry that is no array");
    assert_eq!(mismatch(&ty, r#"[[1,2]]"#).0, "/0/1");
}

/// They have a type in wasmtime, and none that could be deployed.
#[test]
fn lists_of_a_fixed_length_are_refused() {
    let reason = super::reflect(&[("x".to_owned(), reflected("", "(list (list u8 2))"))], None).unwrap_err();
    assert_eq!(
        reason.to_string(),
        "`x[]` is a list of a fixed length, which is no value that JSON could carry"
    );
}

#[test]
fn whole_numbers_are_integers_however_written() {
    let ty = reflect("", "s64");
    for (text, value) in [("1.0", 1), ("2e3", 2_000), ("-0", 0), ("9007199254740991.0", (1 << 53) - 1)] {
        assert_eq!(decode_one(&ty, text.as_bytes()).unwrap(), Val::S64(value), "{text}");
    }
    // These might have been rounded on the way, as the first two are.
    for text in ["9007199254740993.0", "-9223372036854775809", "1e18", "0.5"] {
        mismatch(&ty, text);
    }
    assert_eq!(mismatch(&reflect("", "u8"), "256.0").2, "256, which is out of range");
    for text in ["\"+5\"", "\"\"", "\"5.0\"", "\" 5\""] {
        assert_eq!(mismatch(&ty, text).2, "a string that isn't such an integer");
    }
}

/// Each value has one form.
#[test]
fn cases_without_payload_are_strings() {
    let ty = reflect(
        r#"(type $v' (variant (case "bare") (case "full" u8))) (import "v" (type $v (eq $v')))"#,
        "$v",
    );
    assert_eq!(decode_one(&ty, b"\"bare\"").unwrap(), Val::Variant("bare".to_owned(), None));
    assert_eq!(mismatch(&ty, r#"{"bare":null}"#).2, "a payload for `bare`, which has none: it is a string");
    assert_eq!(mismatch(&ty, "\"full\"").2, "`full` without its payload");
    let ty = reflect("", "(result)");
    assert_eq!(decode_one(&ty, br#"{"ok":null}"#).unwrap(), Val::Result(Ok(None)));
    assert_eq!(mismatch(&ty, "\"ok\"").2, "a string");
    assert_eq!(mismatch(&ty, r#"{"ok":1}"#).2, "a payload for `ok`, which has none");
}

#[test]
fn queries_carry_scalars() {
    let params = [("n".to_owned(), reflect("", "u32")), ("s".to_owned(), reflect("", "(option string)"))];
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
fn queries_carry_nothing_unknown() {
    let refused = |params: &[(String, Type)], pairs: &[(&str, &str)]| {
        let pairs: Vec<_> =
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        match decode_query(params, &pairs) {
            Err(DecodeError::Mismatch { at, expected, found }) => (at, expected, found),
            other => panic!("{pairs:?} gave {other:?}"),
        }
    };
    let record = reflect(&options(1), "$many");
    for ty in [reflect("", "u32"), reflect("", "(option u32)"), reflect("", "(list u32)"), record] {
        let params = [("n".to_owned(), ty)];
        let (at, expected, found) = refused(&params, &[("n", "7"), ("m", "7")]);
        assert_eq!(at, "");
        assert!(expected.starts_with("record { "), "{expected}");
        assert!(found.starts_with("an unknown "), "{found}");
    }
    // What is wrong with a parameter is said at its name.
    let params = [("n".to_owned(), reflect("", "u32"))];
    assert_eq!(refused(&params, &[("n", "x")]).0, "/n");
    assert_eq!(refused(&params, &[("n", "1"), ("n", "2")]).0, "/n");
    assert_eq!(refused(&params, &[]).2, "no parameter of that name");
    assert_eq!(
        decode_query(&[("n".to_owned(), reflect("", "(list u32)"))], &[]).unwrap(),
        [Val::List(vec![])]
    );
}

#[test]
fn signatures_read_as_wit() {
    let params = vec![("rows".to_owned(), reflect("", "(list (tuple string (option f64)))"))];
    let result = Some(reflect("", "(result (error string))"));
    assert_eq!(
        signature_text("handle", &Signature { params, result }),
        "handle: func(rows: list<tuple<string, option<f64>>>) -> result<_, string>"
    );
}

#[test]
fn schemas_describe_what_is_encoded() {
    let ty = everything();
    let schema = json_schema(&ty);
    assert_eq!(schema["properties"]["kind"], serde_json::json!({"enum": ["low", "high-er"]}));
    assert_eq!(schema["additionalProperties"], serde_json::json!(false));
    assert!(!schema["required"].as_array().unwrap().contains(&serde_json::json!("note")));
}

/// A record of `count` options, as a definition of `$many`.
fn options(count: usize) -> String {
    let fields: String =
        (0..count).map(|index| format!("(field \"an-option-{index}\" (option u32))")).collect();
    format!("(type $many' (record {fields})) (import \"many\" (type $many (eq $many')))")
}

/// Absent options cost the caller nothing, and the host a name and a value each.
#[test]
fn what_values_hold_is_bounded_by_the_document() {
    let ty = reflect(&options(100), "(list $many)");
    let empty = |count: usize| format!("[{}{{}}]", "{},".repeat(count - 1));
    assert!(decode_one(&ty, empty(1_000).as_bytes()).is_ok());
    let Err(DecodeError::TooLarge { at, bytes_max }) = decode_one(&ty, empty(100_000).as_bytes()) else {
        panic!("a million options were decoded");
    };
    assert!(bytes_max < 32 << 20, "{bytes_max}");
    // What docs/wit.md and the constants in `trace` count with.
    assert_eq!(size_of::<Val>(), 40);
    let index: usize = at.strip_prefix('/').unwrap().parse().unwrap();
    assert!((1_000..10_000).contains(&index), "{at}");
}

/// 8 MiB of what functions take.
#[test]
fn long_documents_of_plain_values_fit() {
    let len = 8 << 20;
    for (ty, item) in [
        ("f64", "1,"),
        ("f64", "-0.25,"),
        ("u64", "12345,"),
        ("string", "\"ab\","),
        ("(tuple u8 u8)", "[1,2],"),
        ("(list f64)", "[1,2,3,4,5,6,7,8],"),
    ] {
        let list = reflect("", &format!("(list {ty})"));
        let mut document = format!("[{}", item.repeat(len / item.len() - 1));
        document.pop();
        document.push(']');
        assert!(decode_one(&list, document.as_bytes()).is_ok(), "{ty}: {item}");
    }
    let bytes = format!("\"{}\"", "A".repeat(len - 4));
    assert!(decode_one(&reflect("", "(list u8)"), bytes.as_bytes()).is_ok());
}

/// `$t17` is 131,072 of them once written out.
fn doubled(times: usize) -> String {
    let mut definitions = "(type $t0 (tuple u8 u8))".to_owned();
    for index in 1..=times {
        let inner = index - 1;
        definitions += &format!("(type $t{index} (tuple $t{inner} $t{inner}))");
    }
    definitions
}

#[test]
fn signatures_are_measured_as_written_out() {
    let check = |ty: &Reflected| super::reflect(&[("x".to_owned(), ty.clone())], None);
    let bomb = reflected(&doubled(17), "$t17");
    assert_eq!(check(&bomb), Err(UnsupportedType::TooManyTypes));

    // All parameters and the result together.
    let half = reflected(&doubled(11), "$t11");
    let signature = check(&half).unwrap();
    let params = [("a".to_owned(), half.clone()), ("b".to_owned(), half.clone())];
    assert_eq!(super::reflect(&params, Some(&half)), Err(UnsupportedType::TooManyTypes));

    // An answer shows the beginning.
    let shown = mismatch(&signature.params[0].1, "1").1;
    assert!(shown.starts_with("tuple<tuple<") && shown.ends_with('…') && shown.chars().count() == 301);
    let shown = reflect_excerpt("handle", &[("x".to_owned(), bomb)], None).unwrap();
    assert!(shown.starts_with("handle: func(x: tuple<tuple<") && shown.ends_with('…'));

    let long = "x".repeat(90_000);
    let cases = format!("(type $e' (enum \"{long}\")) (import \"e\" (type $e (eq $e')))");
    let names = reflected(&cases, "(tuple $e $e $e)");
    assert_eq!(check(&names), Err(UnsupportedType::NamesTooLong));
}

/// What a caller sent isn't sent back at length.
#[test]
fn errors_show_an_excerpt_of_the_input() {
    let ty = reflect(&options(1), "$many");
    let (_, expected, found) = mismatch(&ty, &format!("{{\"{}\":1}}", "k".repeat(100_000)));
    assert_eq!(expected, "record { an-option-0: option<u32> }");
    assert!(found.starts_with("an unknown field `kkk") && found.chars().count() == 301);
}
