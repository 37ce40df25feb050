//! References to functions and versions, which occur in the paths of requests.

use nebula_runtime::id::FunctionRef;

/// Panics if a parsed reference is formatted as text that doesn't parse to the same reference.
#[expect(clippy::unwrap_used, reason = "a fuzz target fails by panicking")]
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(reference) = text.parse::<FunctionRef>() {
        assert_eq!(reference.to_string().parse::<FunctionRef>().unwrap(), reference);
    }
}
