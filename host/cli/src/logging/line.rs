//! Lines that hold what others have chosen: one line each, without characters that control the
//! terminal.

use std::fmt::Write;

use serde_json::json;

/// The target of a line about lost lines.
const LOG: &str = "nebula::log";

/// Escapes the control characters of a line, except for tabs and for the escapes that set colours:
/// the formatter has escaped those that an event holds.
pub(super) fn escape_text(text: &str) -> String {
    escaped(text, |it| it.is_control() && !matches!(it, '\t' | '\x1b'), |it| it.escape_default().collect())
}

/// Escapes the control characters that JSON leaves as they are. They occur only in its strings.
pub(super) fn escape_json(text: &str) -> String {
    escaped(text, char::is_control, |it| format!("\\u{:04x}", u32::from(it)))
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool, escape: impl Fn(char) -> String) -> String {
    if !text.contains(&is_escaped) {
        return text.to_owned();
    }
    text.chars().fold(String::with_capacity(text.len()), |mut line, character| {
        match is_escaped(character) {
            true => line.push_str(&escape(character)),
            false => line.push(character),
        }
        line
    })
}

/// Appends bytes between quotes, as web servers do: quotes, backslashes and everything but visible
/// ASCII and spaces become `\xXX`.
pub(super) fn push_quoted(line: &mut String, bytes: &[u8]) {
    line.push('"');
    push_escaped(line, bytes);
    line.push('"');
}

/// Appends bytes in the same way, without the quotes around them.
pub(super) fn push_escaped(line: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => push_hexadecimal(line, byte),
            b' '..=b'~' => line.push(char::from(byte)),
            _ => push_hexadecimal(line, byte),
        }
    }
}

fn push_hexadecimal(line: &mut String, byte: u8) {
    // Writing to memory doesn't fail.
    let _ = write!(line, "\\x{byte:02X}");
}

/// Returns the line that tells how many were lost, in the text format.
pub(super) fn lost_as_text(lines: u64) -> String {
    format!("{:.6}  WARN {LOG}: {}", jiff::Timestamp::now(), lost(lines))
}

/// Returns the line that tells how many were lost, in JSON.
pub(super) fn lost_as_json(lines: u64) -> String {
    let now = format!("{:.6}", jiff::Timestamp::now());
    json!({"timestamp": now, "level": "WARN", "message": lost(lines), "lost": lines, "target": LOG})
        .to_string()
}

fn lost(lines: u64) -> String {
    format!("{lines} lines before this one are lost: the log wasn't read quickly enough")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_and_cannot_control_the_terminal() {
        assert_eq!(escape_text("a\tä\r\nb\u{9b}x\u{7f}\0"), "a\tä\\r\\nb\\u{9b}x\\u{7f}\\u{0}");
        assert_eq!(escape_text("as it is"), "as it is");
        let json = serde_json::to_string("a\r\n\u{1b}[31m\u{9b}\u{7f}\u{85}").unwrap();
        let escaped = escape_json(&json);
        assert_eq!(escaped, r#""a\r\n\u001b[31m\u009b\u007f\u0085""#);
        assert_eq!(serde_json::from_str::<String>(&escaped).unwrap(), "a\r\n\u{1b}[31m\u{9b}\u{7f}\u{85}");
    }

    #[test]
    fn quoted_bytes_are_visible_ascii() {
        let mut line = String::new();
        push_quoted(&mut line, b"a \"b\\\r\n\x1b[0m\xff~");
        assert_eq!(line, r#""a \x22b\x5C\x0D\x0A\x1B[0m\xFF~""#);
    }

    #[test]
    fn lost_lines_are_told_in_the_format_of_the_log() {
        assert!(lost_as_text(3).ends_with(
            "Z  WARN nebula::log: 3 lines before this one are lost: the log wasn't read quickly enough"
        ));
        let json: serde_json::Value = serde_json::from_str(&lost_as_json(3)).unwrap();
        assert_eq!((&json["lost"], &json["target"]), (&3.into(), &LOG.into()));
    }
}
