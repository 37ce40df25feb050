//! Numbers in any notation: by their digits, not by the nearest double.

use proptest::prelude::*;
use wasmtime::component::Val;

use super::{decode_one, mismatch};
use crate::{DecodeError, Field, Primitive, Type, decode, decode_query, parse_type};

fn number(primitive: Primitive, text: &str) -> Result<Val, DecodeError> {
    decode_one(&Type::Primitive(primitive), text.as_bytes())
}

#[test]
fn integers_decode_from_any_notation_of_the_same_number() {
    for (primitive, text, value) in [
        (Primitive::S64, "1.0", Val::S64(1)),
        (Primitive::S64, "2e3", Val::S64(2_000)),
        (Primitive::S64, "-0", Val::S64(0)),
        (Primitive::U64, "-0.0e-400", Val::U64(0)),
        (Primitive::S64, "9e17", Val::S64(900_000_000_000_000_000)),
        (Primitive::S64, "1E+18", Val::S64(1_000_000_000_000_000_000)),
        // No double has this value.
        (Primitive::S64, "9007199254740993.0", Val::S64((1 << 53) + 1)),
        (Primitive::S64, "-9.223372036854775808e18", Val::S64(i64::MIN)),
        (Primitive::U64, "18446744073709551615.000", Val::U64(u64::MAX)),
        (Primitive::U8, "0.255e3", Val::U8(255)),
        (Primitive::S8, "-1280e-1", Val::S8(-128)),
    ] {
        assert_eq!(number(primitive, text), Ok(value), "{text}");
    }
}

#[test]
fn numbers_that_are_not_integers_are_refused_by_their_digits() {
    for (primitive, text, found) in [
        (Primitive::U64, "1e-400", "a number with a fraction"),
        (Primitive::U8, "255.00000000000000000001", "a number with a fraction"),
        (Primitive::S64, "9007199254740992.5", "a number with a fraction"),
        (Primitive::S32, "0.5", "a number with a fraction"),
        (Primitive::U8, "256.0", "256, which is out of range"),
        (Primitive::S64, "-9223372036854775809", "-9223372036854775809, which is out of range"),
        (Primitive::U64, "18446744073709551616", "18446744073709551616, which is out of range"),
        (Primitive::U64, "-1e0", "-1, which is out of range"),
        (Primitive::S64, "1e400", "1e400, which is out of range"),
        (Primitive::S64, "1e99999999999999999999", "1e99999999999999999999, which is out of range"),
    ] {
        assert_eq!(mismatch(&Type::Primitive(primitive), text).2, found, "{text}");
    }
    let long = format!("1{}", "0".repeat(1_000));
    let found = mismatch(&Type::S64, &long).2;
    assert!(found.ends_with("…, which is out of range") && found.len() < 80, "{found}");
}

/// serde_json calls such a number a syntax error.
#[test]
fn numbers_beyond_a_double_are_mismatches_at_their_place() {
    let ty = parse_type("record { a: list<tuple<f64, f32, option<f64>>>, b: string }").unwrap();
    for (item, pointer, found) in [
        ("1e400,0,0", "/a/1/0", "1e400, which is out of range"),
        ("-1e400,0,0", "/a/1/0", "-1e400, which is out of range"),
        ("0,1e400,0", "/a/1/1", "1e400, which is out of range"),
        ("0,3.5e38,0", "/a/1/1", "3.5e38, which is out of range"),
        ("0,0,1e400", "/a/1/2", "1e400, which is out of range"),
    ] {
        let document = format!(r#"{{"a": [[1, 2, 3], [{item}]], "b": "x"}}"#);
        let (at, _, reported) = mismatch(&ty, &document);
        assert_eq!((at.as_str(), reported.as_str()), (pointer, found), "{document}");
    }
    // Types of other kinds, too: the document is JSON.
    for text in [
        "string",
        "bool",
        "char",
        "list<f64>",
        "list<u8>",
        "record { a: u8 }",
        "variant { a(u8) }",
        "enum { a }",
        "flags { a }",
        "option<option<u8>>",
        "result",
        "map<string, u8>",
    ] {
        let ty = parse_type(text).unwrap();
        assert_eq!(mismatch(&ty, "1e400").0, "", "{text}");
        assert_eq!(mismatch(&Type::list(ty), "[1e400]").0.trim_end_matches("/0"), "", "{text}");
    }
    let params = ["a", "b"].map(|name| Field::new(name, Type::U8));
    assert!(matches!(decode(&params, b"1e400"), Err(DecodeError::Mismatch { .. })));
    assert!(matches!(decode(&[], b"1e400"), Err(DecodeError::Mismatch { .. })));
}

/// A document is read again if a number needs its digits. The second pass reports everything that
/// the first one does.
#[test]
fn errors_after_a_number_that_needs_its_digits_are_reported() {
    let ty = parse_type("record { n: u8, rest: list<u64> }").unwrap();
    for (rest, at, found) in [
        (r#""x""#, "/rest/1", "a string that isn't an integer of this type"),
        (r#""\ud800""#, "/rest/1", "a string"),
        (r#""\u0031""#, "", ""),
        ("null", "/rest/1", "null"),
        ("true", "/rest/1", "a boolean"),
        ("[]", "/rest/1", "an array"),
        (r#"{"a": [1]}"#, "/rest/1", "an object"),
        ("-1", "/rest/1", "-1, which is out of range"),
    ] {
        let document = format!(r#"{{"n": 1.0, "rest": [1, {rest}]}}"#);
        match decode_one(&ty, document.as_bytes()) {
            Ok(_) => assert_eq!(found, "", "{document}"),
            Err(_) => {
                let (pointer, _, reported) = mismatch(&ty, &document);
                assert_eq!((pointer.as_str(), reported.as_str()), (at, found), "{document}");
            }
        }
    }
    for (rest, column) in [("1,", 24), ("1 2]}", 25), ("\"\\x\"]}", 25), ("-]}", 24)] {
        let document = format!(r#"{{"n": 1.0, "rest": [  {rest}"#);
        let error = decode_one(&ty, document.as_bytes()).unwrap_err();
        let DecodeError::Syntax { line: 1, column: found, .. } = error else {
            panic!("{document} gave {error:?}");
        };
        assert!(found.abs_diff(column) <= 2, "{document}: column {found}");
    }
    let list = Type::list(Type::Primitive(Primitive::U8));
    let large = format!("[1.0,{}1]", "1,".repeat(1_000_000));
    assert!(decode_one(&list, large.as_bytes()).is_ok());
}

#[test]
fn floats_are_bounded_by_what_rounds_to_a_finite_one() {
    for (primitive, text, value) in [
        (Primitive::Float64, "1.7976931348623158e308", Val::Float64(f64::MAX)),
        (Primitive::Float64, "-1e-400", Val::Float64(-0.0)),
        (Primitive::Float32, "3.4028235e38", Val::Float32(f32::MAX)),
        (Primitive::Float32, "3.4028235677973362e38", Val::Float32(f32::MAX)),
        (Primitive::Float32, "-3.4028235677973362e38", Val::Float32(f32::MIN)),
        (Primitive::Float32, "1e-46", Val::Float32(0.0)),
    ] {
        assert_eq!(number(primitive, text), Ok(value), "{text}");
    }
    for (primitive, text) in [
        (Primitive::Float64, "1.7976931348623159e308"),
        (Primitive::Float32, "3.4028235677973366e38"),
        (Primitive::Float32, "340282356779733661637539395458142568448"),
        (Primitive::Float32, "1e39"),
    ] {
        mismatch(&Type::Primitive(primitive), text);
    }
}

#[test]
fn query_parameters_keep_their_digits() {
    let pair = |value: &str| vec![("n".to_owned(), value.to_owned())];
    let query = |ty: Type, value: &str| decode_query(&[Field::new("n", ty)], &pair(value));
    assert_eq!(query(Type::S64, "9e17"), Ok(vec![Val::S64(900_000_000_000_000_000)]));
    for (ty, value, expected) in [
        (Type::U8, "255.00000000000000000001", "a number with a fraction"),
        (Type::U64, "1e-400", "a number with a fraction"),
        (Type::FLOAT64, "1e400", "1e400, which is out of range"),
        (Type::S8, " 1", "a string"),
        (Type::S8, "1 ", "a string"),
        (Type::S8, "0x1", "a string"),
        (Type::S8, "", "a string"),
    ] {
        for ty in [ty.clone(), Type::option(ty)] {
            match query(ty, value) {
                Err(DecodeError::Mismatch { at, found, .. }) => {
                    assert_eq!((at.as_str(), found.as_str()), ("/n", expected), "{value}");
                }
                other => panic!("{value} gave {other:?}"),
            }
        }
    }
}

proptest! {
    /// Between two neighbours, the digits decide, even where the nearest double is half-way.
    #[test]
    fn singles_are_the_nearest_to_the_digits(bits in 0_u32..0x7f00_0000, negative: bool, more in 1_usize..30) {
        let (low, high) = (f32::from_bits(bits), f32::from_bits(bits + 1));
        let half = f64::midpoint(low.into(), high.into());
        // 150 digits are enough for the smallest half, 2^-150.
        let exact = format!("{half:.150}");
        let digits = exact.trim_end_matches('0');
        let (rest, last) = digits.split_at(digits.len() - 1);
        let even = if bits % 2 == 0 { low } else { high };
        let mut cases = vec![(exact.clone(), even), (format!("{exact}{}1", "0".repeat(more)), high)];
        if let Ok(last @ 1..) = last.parse::<u8>() {
            cases.push((format!("{rest}{}{}", last - 1, "9".repeat(more)), low));
        }
        for (text, single) in cases {
            let (text, single) = if negative { (format!("-{text}"), -single) } else { (text, single) };
            prop_assert_eq!(number(Primitive::Float32, &text), Ok(Val::Float32(single)), "{}", text);
        }
    }

    /// `str::parse` of the standard library rounds correctly.
    #[test]
    fn floats_are_rounded_from_their_digits(text in "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?") {
        let (double, single): (f64, f32) = (text.parse().unwrap(), text.parse().unwrap());
        prop_assert_eq!(number(Primitive::Float64, &text), Ok(Val::Float64(double)));
        if single.is_finite() {
            prop_assert_eq!(number(Primitive::Float32, &text), Ok(Val::Float32(single)));
        } else {
            prop_assert!(number(Primitive::Float32, &text).is_err());
        }
    }
}
