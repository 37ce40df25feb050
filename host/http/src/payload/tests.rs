//! The input limit holds for what the function gets, however the body wrote it.

use encoding_rs::Encoding;
use nebula_runtime::Form;
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Encodings whose text is longer in UTF-8, and a character that shows it.
const GROWING: [(&str, char); 6] = [
    ("windows-1252", '€'),
    ("utf-16le", '日'),
    ("utf-16be", '日'),
    ("shift_jis", '日'),
    ("gb18030", '日'),
    ("koi8-r", 'Ж'),
];

/// Returns a function of the texts `a` and `b` and the bytes `file`.
fn of_fields() -> Description {
    let text = json!({"type": "string"});
    let file = json!({"oneOf": [{"type": "string", "contentEncoding": "base64"}, {"type": "array"}]});
    let properties = json!({"a": text, "b": text, "file": file});
    typed(
        "handle: func(a: string, b: string, file: list<u8>)",
        json!({"type": "object", "properties": properties}),
    )
}

fn of_text() -> Description {
    typed("handle: func(text: string)", json!({"type": "string"}))
}

fn typed(signature: &str, schema: serde_json::Value) -> Description {
    Description {
        form: Form::Typed,
        signature: signature.to_owned(),
        docs: None,
        input_schema: Some(schema),
        output_schema: None,
        error_schema: None,
        imports: Vec::new(),
        notes: Vec::new(),
    }
}

/// Writes text in an encoding, which `encoding_rs` doesn't do for UTF-16.
fn encode(charset: &str, text: &str) -> Vec<u8> {
    match charset {
        "utf-16le" => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        "utf-16be" => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
        other => Encoding::for_label(other.as_bytes()).unwrap().encode(text).0.into_owned(),
    }
}

fn read(media_type: &str, body: Vec<u8>, description: &Description, bytes_max: u64) -> Result<Call, Unread> {
    let payload = Payload { media_type: Some(media_type.to_owned()), codings: Vec::new(), body: body.into() };
    payload.into_call(description, bytes_max)
}

/// Writes the fields of a form: names, media types, contents.
fn multipart(fields: &[(&str, String, Vec<u8>)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, media_type, content) in fields {
        let head =
            format!("--x-y\r\nContent-Disposition: form-data; name=\"{name}\"\r\nContent-Type: {media_type}");
        body.extend_from_slice(&[head.as_bytes(), b"\r\n\r\n", content, b"\r\n"].concat());
    }
    [&body[..], b"--x-y--\r\n"].concat()
}

/// Asserts that the body is read if, and only if, the input has room for `bytes`.
fn is_bounded_at(bytes: u64, media_type: &str, body: &[u8], description: &Description) {
    assert!(read(media_type, body.to_vec(), description, bytes).is_ok(), "{media_type}: {bytes}");
    let less = read(media_type, body.to_vec(), description, bytes - 1);
    assert!(matches!(less, Err(Unread::TooLong)), "{media_type}: {bytes}");
}

const MULTIPART_TYPE: &str = "multipart/form-data; boundary=x-y";

proptest! {
    /// The sum of names and decoded values counts, whichever field is the long one.
    #[test]
    fn fields_of_a_form_are_bounded_together(
        lengths in [0..200_usize, 0..200, 0..200],
        charsets in [prop::sample::select(&GROWING[..]), prop::sample::select(&GROWING[..])],
    ) {
        let [a, b] = [0, 1].map(|field| charsets[field].1.to_string().repeat(lengths[field]));
        let of = |field: usize| format!("text/plain; charset={}", charsets[field].0);
        let body = multipart(&[
            ("a", of(0), encode(charsets[0].0, &a)),
            ("b", of(1), encode(charsets[1].0, &b)),
            ("file", "image/png".to_owned(), vec![0xff; lengths[2]]),
        ]);
        let names = "ab".len() + "file".len();
        is_bounded_at((names + a.len() + b.len() + lengths[2]) as u64, MULTIPART_TYPE, &body, &of_fields());
    }

    /// A file or a body that is text counts in UTF-8.
    #[test]
    fn text_is_bounded_in_utf_8(length in 1..500_usize, which in prop::sample::select(&GROWING[..])) {
        let (charset, character) = which;
        let text = character.to_string().repeat(length);
        let coded = encode(charset, &text);
        prop_assert!(coded.len() < text.len(), "{charset} grows");
        let media_type = format!("text/plain; charset={charset}");
        is_bounded_at(text.len() as u64, &media_type, &coded, &of_text());
        let json = format!("\"{text}\"");
        let media_type = format!("application/json; charset={charset}");
        is_bounded_at(json.len() as u64, &media_type, &encode(charset, &json), &of_text());
        let file = multipart(&[("f", format!("text/plain; charset={charset}"), coded)]);
        is_bounded_at(text.len() as u64, MULTIPART_TYPE, &file, &of_text());
    }
}
