//! Compares the output of a command with the one that a document shows.
//!
//! The document's `…` stands for any text. Digests, decimal fractions and the width of white space
//! differ between runs, so they stand for any other; all else must be the same.

use regex_lite::Regex;

/// Returns whether the whole output fits the documented one.
pub(super) fn fits(documented: &str, output: &str) -> bool {
    pattern(documented, "$").is_match(output.trim())
}

/// Returns whether the output begins as documented.
pub(super) fn begins(documented: &str, output: &str) -> bool {
    pattern(documented, "").is_match(output.trim())
}

fn pattern(documented: &str, end: &str) -> Regex {
    let varying = Regex::new(r"…|sha256:[0-9a-f]+|[0-9]+\.[0-9]+|[ \t]+|[ \t]*\n").unwrap();
    let mut pattern = "^".to_owned();
    let mut at = 0;
    let documented = documented.trim();
    for found in varying.find_iter(documented) {
        pattern.push_str(&regex_lite::escape(&documented[at..found.start()]));
        at = found.end();
        pattern.push_str(match found.as_str() {
            "…" => "(?s:.*?)",
            text if text.starts_with("sha256:") => "sha256:[0-9a-f]+",
            text if text.ends_with('\n') => "[ \t]*\n",
            text if text.trim().is_empty() => "[ \t]+",
            _ => r"[0-9]+(?:\.[0-9]+)?",
        });
    }
    pattern.push_str(&regex_lite::escape(&documented[at..]));
    pattern.push_str(end);
    Regex::new(&pattern).unwrap()
}

#[test]
fn only_what_differs_between_runs_may_differ() {
    let fits_all = |documented, outputs: &[&str]| outputs.iter().all(|output| fits(documented, output));
    assert!(fits_all("a   b\n", &["a b", "a  b\n\n"]));
    assert!(fits_all("x v1 sha256:0a1b\nrun;dur=1.2, {…}", &["x v1 sha256:ff\nrun;dur=0, {1\n2}"]));
    for output in ["a", "a b c", "a\nb", "b"] {
        assert!(!fits("a b", output), "{output}");
    }
    assert!(!fits("took 12 ms", "took 13 ms"));
    assert!(begins("a b\n", "a b\nc") && !begins("a b", "c a b"));
}
