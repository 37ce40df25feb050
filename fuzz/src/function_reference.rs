//! Names of functions and versions, as they stand in paths of requests.

use nebula_runtime::id::FunctionRef;

/// A reference that is read can be written, and reads back as the same.
#[expect(clippy::unwrap_used, reason = "a fuzz target fails by panicking")]
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(reference) = text.parse::<FunctionRef>() {
        assert_eq!(reference.to_string().parse::<FunctionRef>().unwrap(), reference);
    }
}
