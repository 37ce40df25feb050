//! The forms of functions.

use serde::{Deserialize, Serialize};

/// The interface of a function, determined by its exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// Exports a world-level function `handle` of plain WIT values.
    Typed,
    /// Exports `nebula:function/handler`: takes and returns bytes with a media type.
    Raw,
    /// Exports `wasi:http/incoming-handler@0.2`: takes whole requests.
    Http,
}

impl Form {
    /// Returns the form of a component with an export of this name.
    pub fn of_export(name: &str) -> Option<Self> {
        if name == "handle" {
            Some(Self::Typed)
        } else if name.starts_with("nebula:function/handler@0.1.") {
            Some(Self::Raw)
        } else if name.starts_with("wasi:http/incoming-handler@0.2.") {
            Some(Self::Http)
        } else {
            None
        }
    }
}
