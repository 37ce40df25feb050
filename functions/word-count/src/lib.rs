//! `word-count`: counts lines, words, characters and bytes of a text, like `wc`.
//!
//! The input is any `text/*` in UTF-8, the answer is JSON.

use nebula_sdk::{Error, Payload};

/// Counts the lines, words, characters and bytes of a text.
#[nebula_sdk::raw]
pub fn handle(request: Payload) -> Result<Payload, Error> {
    if !request.essence().starts_with("text/") {
        return Err(Error::bad_input(format!(
            "send text with a media type such as `text/plain`, not `{}`",
            request.media_type
        )));
    }
    let text = request.as_text()?;
    let (lines, words) = (text.lines().count(), text.split_whitespace().count());
    let (characters, bytes) = (text.chars().count(), text.len());
    Ok(Payload::json(format!(
        r#"{{"lines":{lines},"words":{words},"characters":{characters},"bytes":{bytes}}}"#
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_words_characters_and_bytes_are_counted() {
        let answer = handle(Payload::text("two words\nand é\n")).unwrap();
        assert_eq!(answer.as_text(), Ok(r#"{"lines":2,"words":4,"characters":16,"bytes":17}"#));
        assert_eq!(answer.essence(), "application/json");
    }

    #[test]
    fn other_media_types_and_invalid_utf8_are_refused() {
        for request in [Payload::new("image/png", "x"), Payload::new("text/plain", [0xff])] {
            assert!(matches!(handle(request), Err(Error::BadInput(_))));
        }
    }
}
