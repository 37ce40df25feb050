//! Types as WIT text, which descriptions of pipelines contain.

use nebula_codec::{TypeSyntaxError, parse_type, wit_text};

/// A parsed type can be written as text that parses to the same type, unless the spaces that
/// `wit_text` adds make the text too long.
#[expect(clippy::panic, reason = "a fuzz target fails by panicking")]
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(ty) = parse_type(text) else { return };
    match parse_type(&wit_text(&ty)) {
        Ok(again) => assert_eq!(again, ty),
        Err(TypeSyntaxError::TooLong) => {}
        Err(error) => panic!("{error}"),
    }
}
