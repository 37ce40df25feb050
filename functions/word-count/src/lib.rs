//! `word-count`: how many lines, words, characters and bytes a text has, as `wc` does.
//!
//! Takes any `text/*` in UTF-8, answers JSON.

use nebula_sdk::{Error, Payload};

/// Counts what is in a text.
#[nebula_sdk::raw]
pub fn handle(request: Payload) -> Result<Payload, Error> {
    if !request.essence().starts_with("text/") {
        return Err(Error::bad_input(format!(
            "send a text, such as `text/plain`, not `{}`",
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
    fn counts() {
        let answer = handle(Payload::text("two words\nand é\n")).unwrap();
        assert_eq!(answer.as_text(), Ok(r#"{"lines":2,"words":4,"characters":16,"bytes":17}"#));
        assert_eq!(answer.essence(), "application/json");
    }

    #[test]
    fn what_is_no_text_is_refused() {
        for request in [Payload::new("image/png", "x"), Payload::new("text/plain", [0xff])] {
            assert!(matches!(handle(request), Err(Error::BadInput(_))));
        }
    }
}
