//! Text that is safe to show and fits its place.

use std::fmt::Write;

/// Returns `text` in at most `columns_max` columns. A longer text loses its middle to `…`: the end
/// of a type says something too.
pub(super) fn shorten(text: &str, columns_max: usize) -> String {
    let text = visible(text);
    if columns(&text) <= columns_max {
        return text;
    }
    let end_max = columns_max.saturating_sub(1) / 3;
    let end: Vec<char> = fitting(text.chars().rev(), end_max).collect();
    let begin = fitting(text.chars(), columns_max.saturating_sub(1 + end_max));
    begin.chain(['…']).chain(end.into_iter().rev()).collect()
}

/// Returns the leading characters that fit into `columns_max`.
fn fitting(chars: impl Iterator<Item = char>, columns_max: usize) -> impl Iterator<Item = char> {
    let mut used = 0;
    chars.take_while(move |&char| {
        used += column_count(char);
        used <= columns_max
    })
}

/// Replaces characters that act on a terminal, are invisible or aren't allowed in XML by their
/// number.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        let hidden = matches!(
            char,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}' | '\u{e0000}'..='\u{e0fff}'
        );
        if hidden || char.is_control() {
            // Writing to a `String` doesn't fail.
            let _ = write!(out, "{}", char.escape_unicode());
        } else {
            out.push(char);
        }
    }
    out
}

/// Returns the columns of `text` in a monospace font.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(column_count).sum()
}

/// Returns the columns of a character: two for wide scripts and signs, else one. Never zero,
/// because this bounds the length of a text.
pub(super) fn column_count(char: char) -> usize {
    match char {
        '\u{1100}'..='\u{115f}'
        | '\u{2e80}'..='\u{a4cf}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ff60}'
        | '\u{ffe0}'..='\u{ffe6}'
        | '\u{1f300}'..='\u{1faff}'
        | '\u{20000}'..='\u{3fffd}' => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_lose_their_middle() {
        let ty = "list<record { seed: u64, trials: u32 }>";
        assert_eq!(shorten(ty, 39), ty);
        assert_eq!(shorten(ty, 20), "list<record {…u32 }>");
        assert_eq!(columns(&shorten(ty, 20)), 20);
        assert_eq!(shorten("漢字漢字漢字", 8), "漢字…字");
    }

    #[test]
    fn control_characters_are_written_as_their_numbers() {
        assert_eq!(
            visible("a\u{1b}[2J\u{9b}\n\u{202e}b é\u{ffff}"),
            "a\\u{1b}[2J\\u{9b}\\u{a}\\u{202e}b é\\u{ffff}"
        );
    }
}
