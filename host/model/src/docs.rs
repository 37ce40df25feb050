//! The documentation of a function, as its author wrote it beside the code.
//!
//! Types are found by name, and names by the places in the signature that have them: values of
//! types with the same structure can have different documentation.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The documentation of a function and of its types. Names are those of WIT.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FunctionDocs {
    /// The text about the function.
    pub docs: Option<String>,
    /// The named types in each parameter.
    pub params: BTreeMap<String, NamedTypes>,
    /// The named types in the result.
    pub result: NamedTypes,
    /// The named types.
    pub types: BTreeMap<String, TypeDocs>,
}

/// The documentation of a named type.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TypeDocs {
    /// The text about the type.
    pub docs: Option<String>,
    /// Its fields or cases by name.
    pub parts: BTreeMap<String, PartDocs>,
}

/// The documentation of a field or case.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PartDocs {
    /// The text about the field or case.
    pub docs: Option<String>,
    /// The named types in its value.
    #[serde(rename = "type")]
    pub named: NamedTypes,
}

/// The named types that a type contains.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum NamedTypes {
    /// No type in it has a name.
    #[default]
    None,
    /// The type itself has this name.
    Name(String),
    /// Those in the elements of a list or tuple, the value of an option, or the value and the error
    /// of a result.
    Parts(Vec<NamedTypes>),
}
