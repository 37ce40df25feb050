//! The forms a function can have.

use serde::{Deserialize, Serialize};

/// How a function takes its input, told by its exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// A world-level `handle` of any WIT values.
    Typed,
    /// `nebula:function/handler`: bytes with a media type.
    Raw,
    /// `wasi:http/incoming-handler@0.2`.
    Http,
}

impl Form {
    /// The form that an export of this name makes a component be of.
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
