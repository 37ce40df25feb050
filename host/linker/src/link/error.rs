//! Why a component and the functions it imports can't be linked.

use nebula_codec::UnsupportedType;
use nebula_model::id::{FunctionName, IdError};
use nebula_model::limits::{COMPONENT_BYTES_MAX, FUNCTIONS_IMPORTED_MAX};

use crate::nest::{INITIALISES, NestError};

/// Why a component isn't linked.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// An import of a function can't be satisfied.
    #[error(transparent)]
    Import(#[from] InvalidImport),
    /// The importing component isn't a function itself.
    #[error(transparent)]
    Importer(#[from] InvalidImporter),
}

/// Why a component's imports of functions can't be satisfied.
#[derive(Debug, thiserror::Error)]
pub enum InvalidImport {
    /// No function has the imported name.
    #[error("it imports the function `{name}`, which isn't deployed")]
    Unknown {
        /// The imported name.
        name: FunctionName,
    },
    /// The function exists, but its form can't be linked.
    #[error("it imports the function `{name}`, which is {form}: only typed functions can be imported")]
    Form {
        /// The imported function.
        name: FunctionName,
        /// Its form, as a phrase for the message.
        form: &'static str,
    },
    /// The import and the deployed function have different signatures.
    #[error(transparent)]
    Mismatch(Box<ImportMismatch>),
    /// The component would be linked into itself.
    #[error("it imports itself: {}", names.join(" → "))]
    Cycle {
        /// The functions of the cycle; the first and the last are the same.
        names: Vec<String>,
    },
    /// The interface's name doesn't end in a function name.
    #[error("it imports `{import}`")]
    Name {
        /// The import.
        import: String,
        /// The reason the name is invalid.
        source: IdError,
    },
    /// The import names a version. A deploy links the versions that are current.
    #[error("it imports `{import}`: leave the version out, a deploy links the current version")]
    Versioned {
        /// The import.
        import: String,
    },
    /// The interface contains something else than plain types and `handle`.
    #[error(
        "it imports `{import}`, which may contain only plain types and a function `handle`: it has {found}"
    )]
    Shape {
        /// The import.
        import: String,
        /// The item that doesn't belong there, or the one that is missing.
        found: String,
    },
    /// The import uses types that have no JSON form.
    #[error("it imports `{import}`")]
    Type {
        /// The import.
        import: String,
        /// The unsupported type.
        source: UnsupportedType,
    },
    /// A component to be linked exports an initialiser, which only runs in a component compiled
    /// alone.
    #[error(
        "{} exports `{INITIALISES}`, which doesn't run in a linked component",
        function.as_ref().map_or_else(|| "it imports functions and".to_owned(), |name| format!("it imports the function `{name}`, which"))
    )]
    Initialises {
        /// The imported function that exports it; `None` for the importing component.
        function: Option<FunctionName>,
    },
    /// The component imports more than [`FUNCTIONS_IMPORTED_MAX`] functions.
    #[error("it imports {functions} functions; the limit is {FUNCTIONS_IMPORTED_MAX}")]
    TooMany {
        /// The number of functions.
        functions: usize,
    },
    /// The linked component would be larger than [`COMPONENT_BYTES_MAX`].
    #[error("with the functions it imports it has {bytes} bytes; the limit is {COMPONENT_BYTES_MAX} bytes")]
    TooLarge {
        /// Length of the linked component, bytes.
        bytes: usize,
    },
    /// The linked component needs more memories, tables or instances than a slot has.
    #[error("with the functions it imports it needs more than an instance may have: {0}")]
    NeedsTooMuch(String),
    /// The other imports of the components can't be imported by one component.
    #[error("it can't be linked with the functions it imports: {0}")]
    Unlinkable(String),
}

impl From<NestError> for InvalidImport {
    fn from(error: NestError) -> Self {
        Self::Unlinkable(error.to_string())
    }
}

/// An import and the deployed function differ in their signatures.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it imports the function `{function}` as `{imported}`, but the deployed one is `{deployed}`{}",
    if at.is_empty() { String::new() } else { format!(": at `{at}`, expected `{expected}`, found `{found}`") }
)]
pub struct ImportMismatch {
    /// The imported function.
    pub function: FunctionName,
    /// The signature that the import declares, shortened.
    pub imported: String,
    /// The signature of the deployed function, shortened.
    pub deployed: String,
    /// Path to the first difference: `table.rows[].name`, `result.ok`, or `parameters` if their
    /// names differ. Empty for the whole signature.
    pub at: String,
    /// The type there in the deployed function.
    pub found: String,
    /// The type there in the import.
    pub expected: String,
}

/// Why a component that imports functions isn't a function itself.
#[derive(Debug, thiserror::Error)]
pub enum InvalidImporter {
    /// The component exports no `handle` of any form.
    #[error("it exports no `handle`")]
    NoHandle {
        /// The names of its exports.
        exports: Vec<String>,
    },
    /// The export `handle` isn't a function.
    #[error("its export `handle` is not a plain function")]
    NotAFunction,
    /// A type of `handle` has no JSON form.
    #[error(transparent)]
    Type(#[from] UnsupportedType),
    /// The component imports something that a pure function may not use.
    #[error("it imports {}, which a pure function may not use", imports.join(", "))]
    Imports {
        /// The names of these imports.
        imports: Vec<String>,
    },
}
