//! JSON inputs, decoded by their type. An input is the type, a newline and the document.

use nebula_codec::{Field, decode, decode_trusted, encode, parse_type};

/// A decoded value can be encoded, and its JSON decodes to a value with the same JSON.
#[expect(clippy::unwrap_used, reason = "a fuzz target fails by panicking")]
pub fn run(data: &[u8]) {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let (text, json) = (&data[..end], &data[end + 1..]);
    let Ok(text) = std::str::from_utf8(text) else { return };
    let Ok(ty) = parse_type(text) else { return };
    let Ok(values) = decode(&[Field::new("input", ty.clone())], json) else { return };
    let mut written = Vec::new();
    encode(&ty, &values[0], &mut written);
    let mut again = Vec::new();
    encode(&ty, &decode_trusted(&ty, &written).unwrap(), &mut again);
    assert_eq!(again, written);
}
