//! Usual mistakes: the error says what to send instead.

use crate::{DecodeError, Field, decode, decode_query, parse_type};

fn params(types: &[(&str, &str)]) -> Vec<Field> {
    types.iter().map(|(name, ty)| Field::new(*name, parse_type(ty).unwrap())).collect()
}

fn hint(types: &[(&str, &str)], document: &str) -> Option<String> {
    match decode(&params(types), document.as_bytes()) {
        Err(DecodeError::Mismatch { hint, .. }) => hint,
        other => panic!("{document} gave {other:?}"),
    }
}

#[test]
fn misspelt_names_are_followed_by_the_known_one() {
    let record = "record { first-name: string, size: option<u8> }";
    let several = [("first-name", "string"), ("size", "option<u8>")];
    for (types, document, meant) in [
        (&[("x", record)][..], r#"{"firstName": "a"}"#, "first-name"),
        (&[("x", record)], r#"{"first-name": "a", "siez": 1}"#, "size"),
        (&several, r#"{"first_name": "a"}"#, "first-name"),
        (&several, r#"{"first-name": "a", "sizes": 1}"#, "size"),
        (&[("x", "variant { circle(f64), point }")], r#"{"cirlce": 1}"#, "circle"),
        (&[("x", "variant { circle(f64), point }")], r#""Point""#, "point"),
        (&[("x", "enum { north, south }")], r#""NORTH""#, "north"),
        (&[("x", "flags { read, write }")], r#"["read", "wirte"]"#, "write"),
        (&[("x", "result<u8>")], r#"{"OK": 1}"#, "ok"),
        (&[("x", "result<u8, u8>")], r#"{"eror": 1}"#, "err"),
        (&[("x", "list<enum { north, south }>")], r#"["nort"]"#, "north"),
    ] {
        let expected = format!("did you mean `{meant}`?");
        assert_eq!(hint(types, document), Some(expected), "{document}");
    }
    assert_eq!(hint(&[("x", record)], r#"{"age": 1}"#), None);
    assert_eq!(hint(&[("x", "enum { north, south }")], r#""up""#), None);
    // The message has the hint too.
    let error = decode(&params(&[("x", "enum { north }")]), b"\"nort\"").unwrap_err();
    assert_eq!(error.to_string(), "expected `enum { north }`, found `nort`: did you mean `north`?");
}

#[test]
fn messages_name_the_place_only_within_a_document() {
    let message =
        |ty, document: &str| decode(&params(&[("x", ty)]), document.as_bytes()).unwrap_err().to_string();
    assert_eq!(message("string", "1"), "expected `string`, found a number");
    assert_eq!(message("list<string>", "[1]"), "expected `string` at `/0`, found a number");
    let too_large = |at: &str| DecodeError::TooLarge { at: at.to_owned(), bytes_max: 8 }.to_string();
    assert_eq!(too_large(""), "the input needs more than 8 bytes of memory: the limit was reached");
    assert_eq!(too_large("/0"), "the input needs more than 8 bytes of memory: the limit was reached at `/0`");
}

#[test]
fn misspelt_query_parameters_are_followed_by_the_known_one() {
    for types in [
        &[("count", "u8")][..],
        &[("count", "u8"), ("size", "option<u8>")],
        &[("x", "record { count: u8 }")],
        &[("count", "list<u8>")],
    ] {
        let pairs = [("cuont".to_owned(), "1".to_owned())];
        match decode_query(&params(types), &pairs) {
            Err(DecodeError::Mismatch { found, hint, .. }) => {
                assert!(found.starts_with("an unknown ") && found.ends_with("`cuont`"), "{found}");
                assert_eq!(hint.as_deref(), Some("did you mean `count`?"));
            }
            other => panic!("{types:?} gave {other:?}"),
        }
    }
}

#[test]
fn a_single_parameter_wrapped_in_its_name_is_named() {
    for (ty, document, what) in [
        ("record { id: u8 }", r#"{"order": {"id": 1}}"#, "record"),
        ("record { id: u8 }", r#"{"order": {}}"#, "record"),
        ("record { id: option<u8> }", r#"{"order": null}"#, "record"),
        ("option<record { id: u8 }>", r#"{"order": {"id": 1}}"#, "value"),
        ("string", r#"{"order": "x"}"#, "value"),
        ("list<u8>", r#" { "order" : [1] } "#, "value"),
        ("u64", r#"{"order": 1.5}"#, "value"),
        ("variant { id(u8) }", r#"{"order": {"id": 1}}"#, "value"),
        ("map<u8, u8>", r#"{"order": []}"#, "value"),
        ("record { orders: u8 }", r#"{"order": {"orders": 1}}"#, "record"),
    ] {
        let found = hint(&[("order", ty)], document);
        let expected =
            format!("a single parameter isn't named: send the {what} itself, without `{{\"order\": …}}`");
        assert_eq!(found, Some(expected), "{document} as {ty}");
    }
    for (ty, document) in [
        // The member is the value's own, or isn't the only one, or has another name.
        ("record { order: u8, id: u8 }", r#"{"order": 1}"#),
        ("variant { order(u8) }", r#"{"order": "x"}"#),
        ("map<string, u8>", r#"{"order": "x"}"#),
        ("record { id: u8 }", r#"{"order": {"id": 1}, "more": 1}"#),
        ("record { id: u8 }", r#"{"purchase": {"id": 1}}"#),
        ("record { id: u8 }", r#"{}"#),
        ("record { id: u8 }", r#"[{"order": 1}]"#),
    ] {
        assert_eq!(hint(&[("order", ty)], document), None, "{document} as {ty}");
    }
}

#[test]
fn an_empty_body_is_named_with_the_expected_type() {
    let record = [("x", "record { csv: string }")];
    let several = [("a", "s64"), ("b", "s64")];
    for (types, expected) in [
        (&record[..], "record { csv: string }"),
        (&several[..], "record { a: s64, b: s64 }"),
        (&[("x", "option<u8>")][..], "option<u8>"),
    ] {
        for body in ["", " ", "\r\n\t"] {
            let error = decode(&params(types), body.as_bytes()).unwrap_err();
            assert_eq!(error, DecodeError::Empty { expected: expected.to_owned() });
            assert_eq!(error.to_string(), format!("the body is empty: expected JSON of `{expected}`"));
        }
    }
    assert_eq!(decode(&[], b" \n"), Ok(Vec::new()));
}

#[test]
fn byte_order_marks_are_named() {
    let utf16: Vec<u8> = "\u{feff}1".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf16_be: Vec<u8> = "\u{feff}1".encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (document, encoding) in [
        ("\u{feff}1".as_bytes(), "UTF-8"),
        (&*utf16, "UTF-16"),
        (&*utf16_be, "UTF-16"),
        (b"\xff\xfe\0\x001\0\0\0", "UTF-32"),
        (b"\0\0\xfe\xff\0\0\x001", "UTF-32"),
    ] {
        for types in [&[("x", "u8")][..], &[("a", "u8"), ("b", "u8")], &[]] {
            match decode(&params(types), document) {
                Err(DecodeError::Syntax { message, line: 1, column: 1 }) => {
                    let mark = format!("the byte-order mark of {encoding}:");
                    assert!(message.contains(&mark), "{message}");
                }
                other => panic!("{document:?} gave {other:?}"),
            }
        }
    }
}
