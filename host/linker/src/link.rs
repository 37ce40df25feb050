//! A component and the functions that it imports, as one component.
//!
//! ```text
//! (component
//!     (import "wasi:…" …)                             what any of them imports, once
//!     (component …) (instance $f …)                   a function that is imported, as it is deployed
//!     (component …) (instance $f' (with "handle" $f)) its `handle`, with the types that the import names
//!     …
//!     (component …) (instance $i (with "nebula:functions/f" $f') …)   what imports them
//!     (export "handle" $i "handle"))
//! ```
//!
//! An import of a function is an instance `nebula:functions/NAME` of plain types and one function, `handle`; or a
//! function at world level, which has the function's name.
//!
//! Invariants:
//! * What comes of it imports no function any more: it is a component like any other.
//! * A function is called as it is declared: types and the names of parameters are the same on both sides, or it isn't
//!   linked.
//! * The same components give the same bytes.
//!
//! Which component a name stands for isn't decided here.

use nebula_codec as codec;
use nebula_codec::{Signature, Type, UnsupportedType};
use nebula_model::form::Form;
use nebula_model::id::{FunctionName, IdError};
use nebula_model::limits::{COMPONENT_BYTES_MAX, FUNCTIONS_IMPORTED_MAX};
use wasm_encoder::{ComponentBuilder, ComponentExportKind, ComponentTypeRef};
use wasmparser::component_types::{
    ComponentAnyTypeId, ComponentEntityType, ComponentFuncTypeId, ComponentInstanceTypeId,
};

use super::nest::{self, HOST, INITIALISES, Names, NotNested, Read, Types};

/// The package of interfaces that are deployed functions.
const PACKAGE: &str = "nebula:functions/";

/// Why a component's imports of functions can't be satisfied.
#[derive(Debug, thiserror::Error)]
pub enum InvalidImport {
    /// No function of that name.
    #[error("it imports the function `{name}`, and none of that name is deployed")]
    Unknown {
        /// The name.
        name: FunctionName,
    },
    /// The function is there, and none that can be linked.
    #[error("it imports the function `{name}`, which is {form}: only typed functions can be imported")]
    Form {
        /// The function.
        name: FunctionName,
        /// What it is.
        form: &'static str,
    },
    /// What is imported isn't what is deployed.
    #[error(transparent)]
    Mismatch(Box<ImportMismatch>),
    /// It would be linked into itself.
    #[error("it imports itself: {}", names.join(" → "))]
    Cycle {
        /// From itself to itself.
        names: Vec<String>,
    },
    /// No name of a function.
    #[error("it imports `{import}`")]
    Name {
        /// The import.
        import: String,
        /// What is wrong with its name.
        source: IdError,
    },
    /// A version isn't chosen by the import.
    #[error("it imports `{import}`: leave the version out, what is current when it is deployed is linked in")]
    Versioned {
        /// The import.
        import: String,
    },
    /// An interface of something else.
    #[error("it imports `{import}`, which isn't plain types and one function `handle`: it has {found}")]
    Shape {
        /// The import.
        import: String,
        /// What there is.
        found: String,
    },
    /// Types that can't travel.
    #[error("it imports `{import}`")]
    Type {
        /// The import.
        import: String,
        /// Which types.
        source: UnsupportedType,
    },
    /// What would have to be run when it is compiled, and is not, in a component with others.
    #[error(
        "{} exports `{INITIALISES}`, which isn't run in a component that is linked of several",
        function.as_ref().map_or_else(|| "it imports functions and".to_owned(), |name| format!("it imports the function `{name}`, which"))
    )]
    Initialises {
        /// The function that it imports, if it isn't itself.
        function: Option<FunctionName>,
    },
    /// Too many of them.
    #[error("it imports {functions} functions, and at most {FUNCTIONS_IMPORTED_MAX} are linked")]
    TooMany {
        /// How many.
        functions: usize,
    },
    /// Too much.
    #[error(
        "with the functions that it imports it has {bytes} bytes, and at most {COMPONENT_BYTES_MAX} are taken"
    )]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// More memories, tables or instances than any instance is given.
    #[error("with the functions that it imports it needs more than an instance may have: {0}")]
    NeedsTooMuch(String),
    /// What they import besides can't be imported by one component.
    #[error("it can't be linked with the functions that it imports: {0}")]
    Unlinkable(String),
}

impl From<NotNested> for InvalidImport {
    fn from(error: NotNested) -> Self {
        Self::Unlinkable(error.to_string())
    }
}

/// The two ends of an import.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it imports the function `{function}` as `{imported}`, and what is deployed is `{deployed}`{}",
    if at.is_empty() { String::new() } else { format!(": at `{at}`, `{found}` is no `{expected}`") }
)]
pub struct ImportMismatch {
    /// The function.
    pub function: FunctionName,
    /// Its signature as it is imported.
    pub imported: String,
    /// As it is.
    pub deployed: String,
    /// Where the two differ: `table.rows[].name`, `result.ok`; `parameters` in their names; empty is the whole.
    pub at: String,
    /// What stands there in the function that is deployed.
    pub found: String,
    /// What stands there in the import.
    pub expected: String,
}

/// Why a component isn't linked.
#[derive(Debug, thiserror::Error)]
pub enum Unlinked {
    /// An import of a function can't be satisfied.
    #[error(transparent)]
    Import(#[from] InvalidImport),
    /// The importing component isn't a function, whatever it imports.
    #[error(transparent)]
    Importer(#[from] InvalidImporter),
}

/// Why a component that imports functions isn't a function itself.
#[derive(Debug, thiserror::Error)]
pub enum InvalidImporter {
    /// It exports no `handle` of any form.
    #[error("it exports no `handle`")]
    NoHandle {
        /// The names of its exports.
        exports: Vec<String>,
    },
    /// Its `handle` isn't a function.
    #[error("its export `handle` is not a plain function")]
    NotAFunction,
    /// A type of its `handle` can't be converted to JSON.
    #[error(transparent)]
    Type(#[from] UnsupportedType),
    /// It imports what a pure function may not use.
    #[error("it imports {}, which a pure function may not use", imports.join(", "))]
    Imports {
        /// The names of these imports.
        imports: Vec<String>,
    },
}

/// A component that imports functions.
pub struct Importer {
    read: Read,
    imports: Vec<Import>,
}

/// An import of a function.
struct Import {
    /// What the component calls it.
    import: String,
    name: FunctionName,
    signature: Signature,
    /// The types of the interface, if it is one.
    interface: Option<Vec<(String, Type)>>,
}

/// The names of the functions that a component imports, as far as they are names; for whoever deploys several, in order.
/// Nothing for what is no component.
pub fn imported_functions(component: &[u8]) -> Vec<FunctionName> {
    match Importer::read(component) {
        Ok(Some(importer)) => importer.functions().cloned().collect(),
        Ok(None) | Err(_) => Vec::new(),
    }
}

impl Importer {
    /// Reads an admitted component; `None` where it imports no function.
    ///
    /// # Errors
    /// [`InvalidImport`].
    pub fn read(component: &[u8]) -> Result<Option<Self>, InvalidImport> {
        let read = Read::of(component)?;
        let mut imports = Vec::new();
        for import in &read.imports {
            imports.extend(Import::of(import, &read)?);
        }
        if imports.len() > FUNCTIONS_IMPORTED_MAX {
            return Err(InvalidImport::TooMany { functions: imports.len() });
        }
        Ok(if imports.is_empty() { None } else { Some(Self { read, imports }) })
    }

    /// The functions' names, in order.
    pub fn functions(&self) -> impl Iterator<Item = &FunctionName> {
        self.imports.iter().map(|import| &import.name)
    }

    /// Links it with the components of its functions, which are typed and in order. `component` is the one that was read.
    ///
    /// What comes of it is no larger than a component may be, and hasn't been admitted.
    ///
    /// # Errors
    /// [`Unlinked`].
    pub fn link(self, component: &[u8], functions: &[Vec<u8>]) -> Result<Vec<u8>, Unlinked> {
        let sum = |bytes: usize, function: &Vec<u8>| bytes.saturating_add(function.len());
        let bytes = functions.iter().fold(component.len(), sum);
        if bytes > COMPONENT_BYTES_MAX {
            return Err(InvalidImport::TooLarge { bytes }.into());
        }
        self.check()?;
        let exports = handlers(&self.read)?;
        let names = self.names();
        let Self { read, imports } = self;
        // The first is what imports, the others are imported, in order.
        let mut reads = vec![read];
        for (import, function) in imports.iter().zip(functions) {
            reads.push(import.check(function)?);
        }
        let is_function = |name: &String| imports.iter().any(|import| import.import == *name);
        if let Some(importer) = reads.first_mut() {
            importer.imports.retain(|name| !is_function(name));
        }

        let mut outer = ComponentBuilder::default();
        let mut arguments = nest::import_all(&reads, &mut outer).map_err(InvalidImport::from)?.into_iter();
        let mut own = arguments.next().unwrap_or_default();
        let mut types = Types::unnamed();
        for ((import, function), arguments) in imports.iter().zip(functions).zip(arguments) {
            let function = outer.component_raw(None, function);
            let instance = outer.instantiate(None, function, arguments);
            let handle = outer.alias_export(instance, "handle", ComponentExportKind::Func);
            own.push(match &import.interface {
                None => (import.import.clone(), ComponentExportKind::Func, handle),
                Some(exported) => {
                    let instance = interface(exported, &import.signature, handle, &mut types, &mut outer);
                    (import.import.clone(), ComponentExportKind::Instance, instance)
                }
            });
        }
        let importer = outer.component_raw(None, component);
        let importer = outer.instantiate(None, importer, own);
        let mut types = Types::named(names);
        for export in &exports {
            let (kind, ty) = match &export.signature {
                Some(Signature { params, result }) => {
                    let ty = types.function(&mut outer, params, result.as_ref());
                    (ComponentExportKind::Func, Some(ComponentTypeRef::Func(ty)))
                }
                None => (ComponentExportKind::Instance, None),
            };
            let exported = outer.alias_export(importer, &export.name, kind);
            outer.export(export.name.as_str(), kind, exported, ty);
        }
        let linked = outer.finish();
        if linked.len() > COMPONENT_BYTES_MAX {
            return Err(InvalidImport::TooLarge { bytes: linked.len() }.into());
        }
        Read::of(&linked).map_err(InvalidImport::from)?;
        Ok(linked)
    }

    /// What would be refused of it whatever its functions are.
    fn check(&self) -> Result<(), Unlinked> {
        if self.read.exports.iter().any(|name| name == INITIALISES) {
            return Err(InvalidImport::Initialises { function: None }.into());
        }
        let others = self.read.imports.iter().filter(|name| {
            let is_function = self.imports.iter().any(|import| import.import == **name);
            !is_function && !name.starts_with(HOST) && !is_types(&self.read, name)
        });
        let imports: Vec<_> = others.cloned().collect();
        if imports.is_empty() { Ok(()) } else { Err(InvalidImporter::Imports { imports }.into()) }
    }

    /// What it calls the types that it imports: so they are called in what is linked.
    fn names(&self) -> Names {
        let mut names = Names::default();
        let mut want = |name: &str, ty: ComponentAnyTypeId| {
            if let ComponentAnyTypeId::Defined(id) = ty
                && let Ok(ty) = self.read.ty(name, id)
            {
                names.want(ty, name);
            }
        };
        for name in &self.read.imports {
            if let Some(ComponentEntityType::Type { created, .. }) = self.read.item(name) {
                want(name, created);
            }
        }
        // What it calls them itself comes before what interfaces do.
        for name in self.read.imports.iter().filter(|name| !name.starts_with(HOST)) {
            let Some(ComponentEntityType::Instance(id)) = self.read.item(name) else { continue };
            for (name, export) in &self.read.types[id].exports {
                if let ComponentEntityType::Type { created, .. } = export.ty {
                    want(name, created);
                }
            }
        }
        names
    }
}

impl Import {
    /// The import of that name, if it is of a function.
    fn of(import: &str, read: &Read) -> Result<Option<Self>, InvalidImport> {
        let (name, handle, interface) = match (read.item(import), import.strip_prefix(PACKAGE)) {
            (Some(ComponentEntityType::Func(id)), None) => (import, id, None),
            // Types alone are nobody's.
            (Some(ComponentEntityType::Instance(_)), Some(_)) if is_types(read, import) => return Ok(None),
            (Some(ComponentEntityType::Instance(id)), Some(name)) => {
                let (types, handle) = contents(import, id, read)?;
                (name, handle, Some(types))
            }
            (
                Some(
                    ComponentEntityType::Func(_)
                    | ComponentEntityType::Instance(_)
                    | ComponentEntityType::Type { .. }
                    | ComponentEntityType::Module(_)
                    | ComponentEntityType::Value(_)
                    | ComponentEntityType::Component(_),
                )
                | None,
                _,
            ) => return Ok(None),
        };
        if name.contains('@') {
            return Err(InvalidImport::Versioned { import: import.to_owned() });
        }
        let name = match name.parse() {
            Ok(name) => name,
            // At world level it may be anything.
            Err(_) if interface.is_none() => return Ok(None),
            Err(source) => return Err(InvalidImport::Name { import: import.to_owned(), source }),
        };
        let signature = read.signature(handle);
        let signature =
            signature.map_err(|source| InvalidImport::Type { import: import.to_owned(), source })?;
        Ok(Some(Self { import: import.to_owned(), name, signature, interface }))
    }

    /// Reads the function that is deployed, and compares its `handle` with what is imported.
    fn check(&self, function: &[u8]) -> Result<Read, InvalidImport> {
        let read = Read::of(function)?;
        if read.exports.iter().any(|name| name == INITIALISES) {
            return Err(InvalidImport::Initialises { function: Some(self.name.clone()) });
        }
        let Some(ComponentEntityType::Func(handle)) = read.exported("handle") else {
            return Err(InvalidImport::Form { name: self.name.clone(), form: "no typed one" });
        };
        let deployed = read.signature(handle);
        let deployed =
            deployed.map_err(|source| InvalidImport::Type { import: self.import.clone(), source })?;
        match codec::difference(&self.signature, &deployed) {
            None => Ok(read),
            Some(difference) => Err(InvalidImport::Mismatch(Box::new(ImportMismatch {
                function: self.name.clone(),
                imported: codec::signature_excerpt("handle", &self.signature),
                deployed: codec::signature_excerpt("handle", &deployed),
                at: difference.at,
                found: difference.right,
                expected: difference.left,
            }))),
        }
    }
}

/// Whether an import is a type, or an interface of nothing but types.
fn is_types(read: &Read, name: &str) -> bool {
    match read.item(name) {
        Some(ComponentEntityType::Type { .. }) => true,
        Some(ComponentEntityType::Instance(id)) => {
            let mut exports = read.types[id].exports.values();
            exports.all(|export| matches!(export.ty, ComponentEntityType::Type { .. }))
        }
        Some(
            ComponentEntityType::Func(_)
            | ComponentEntityType::Module(_)
            | ComponentEntityType::Value(_)
            | ComponentEntityType::Component(_),
        )
        | None => false,
    }
}

/// The types of an interface, and its function.
fn contents(
    import: &str,
    id: ComponentInstanceTypeId,
    read: &Read,
) -> Result<(Vec<(String, Type)>, ComponentFuncTypeId), InvalidImport> {
    let other = |found: String| InvalidImport::Shape { import: import.to_owned(), found };
    let (mut types, mut handle) = (Vec::new(), None);
    for (name, export) in &read.types[id].exports {
        match export.ty {
            ComponentEntityType::Type { created: ComponentAnyTypeId::Defined(id), .. } => {
                let ty = read.ty(name, id);
                let ty = ty.map_err(|source| InvalidImport::Type { import: import.to_owned(), source })?;
                types.push((name.clone(), ty));
            }
            ComponentEntityType::Func(id) if name == "handle" => handle = Some(id),
            ComponentEntityType::Func(_) => return Err(other(format!("a function `{name}`"))),
            ComponentEntityType::Type { .. } => return Err(other(format!("a resource `{name}`"))),
            ComponentEntityType::Module(_)
            | ComponentEntityType::Value(_)
            | ComponentEntityType::Instance(_)
            | ComponentEntityType::Component(_) => return Err(other(format!("`{name}`"))),
        }
    }
    Ok((types, handle.ok_or_else(|| other("no `handle`".to_owned()))?))
}

/// What calls come in by.
struct Handler {
    name: String,
    /// Of a function; else it is an instance.
    signature: Option<Signature>,
}

/// The exports that make a component a function: all of them, so that two are refused as they are without imports.
fn handlers(read: &Read) -> Result<Vec<Handler>, InvalidImporter> {
    let mut handlers = Vec::new();
    for name in read.exports.iter().filter(|name| Form::of_export(name).is_some()) {
        let signature = match read.exported(name) {
            Some(ComponentEntityType::Func(id)) => Some(read.signature(id)?),
            Some(ComponentEntityType::Instance(_)) => None,
            Some(
                ComponentEntityType::Type { .. }
                | ComponentEntityType::Module(_)
                | ComponentEntityType::Value(_)
                | ComponentEntityType::Component(_),
            )
            | None => return Err(InvalidImporter::NotAFunction),
        };
        handlers.push(Handler { name: name.clone(), signature });
    }
    if handlers.is_empty() {
        Err(InvalidImporter::NoHandle { exports: read.exports.clone() })
    } else {
        Ok(handlers)
    }
}

/// An instance of an interface: its types, and a `handle` that is there already.
///
/// A component makes it, since only in one can the types be named as the interface names them.
fn interface(
    exported: &[(String, Type)],
    signature: &Signature,
    handle: u32,
    types: &mut Types,
    outer: &mut ComponentBuilder,
) -> u32 {
    let mut names = Names::default();
    for (name, ty) in exported {
        names.want(ty.clone(), name);
    }
    let mut inner = ComponentBuilder::default();
    let mut named = Types::named(names);
    let indices: Vec<_> = exported.iter().map(|(_, ty)| named.index(&mut inner, ty)).collect();
    let ty = named.function(&mut inner, &signature.params, signature.result.as_ref());
    let function = inner.import("handle", ComponentTypeRef::Func(ty));
    for ((name, _), index) in exported.iter().zip(indices) {
        inner.export(name.as_str(), ComponentExportKind::Type, index, None);
    }
    inner.export("handle", ComponentExportKind::Func, function, None);
    let mut with: Vec<_> = named
        .iter()
        .map(|(ty, name, _)| (name.to_owned(), ComponentExportKind::Type, types.index(outer, ty)))
        .collect();
    with.push(("handle".to_owned(), ComponentExportKind::Func, handle));
    let inner = outer.component(None, inner);
    outer.instantiate(None, inner, with)
}

#[cfg(test)]
mod tests;
