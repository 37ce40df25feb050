//! Linking: from a component to a loaded function whose form, imports and exports are resolved.
//!
//! The exports alone determine the form. All work that doesn't depend on the call happens here,
//! once; [`call`](super::call) only instantiates and runs.

use std::sync::atomic::{AtomicU8, Ordering};

use nebula_codec as codec;
use nebula_codec::{Flat, Signature, Type, UnsupportedType};
use nebula_model::form::Form;
use wasmtime::component::types::{Component as ComponentType, ComponentFunc, ComponentItem};
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Type as Reflected};
use wasmtime_wasi_http::p2::bindings::sync::ProxyPre;

use super::Engine;
use super::artefact::load_bytes;
use super::docs::documentation;
use crate::purity;
use crate::purity::Sandbox;
use crate::wasi_version;

/// The host's bindings for the raw world.
mod raw {
    wasmtime::component::bindgen!({ path: "../../wit", world: "nebula:function/function" });
}

pub(super) use raw::exports::nebula::function::handler::{Error as RawError, Payload as RawPayload};
pub(super) use raw::{Function as RawFunction, FunctionPre};

/// The raw world's `handle`, in the notation of the reflection.
const RAW_HANDLE: &str = "handle: func(request: record { media-type: string, body: list<u8> }) -> \
    result<record { media-type: string, body: list<u8> }, variant { bad-input(string), failed(string) }>";

/// The reasons to refuse a component as a function.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The component exports none of the three forms.
    #[error(
        "it exports {}, and neither `handle`, `nebula:function/handler` nor `wasi:http/incoming-handler`{}",
        list(exports),
        other_wasi(exports)
    )]
    NoHandle {
        /// The names that the component exports.
        exports: Vec<String>,
    },
    /// The component exports more than one form.
    #[error(
        "it exports more than one of `handle`, `nebula:function/handler` and `wasi:http/incoming-handler`"
    )]
    Ambiguous,
    /// The export `handle` isn't a function, or is an `async` one.
    #[error("its export `handle` is not a plain function")]
    NotAFunction,
    /// An export has the name of one of the two interfaces, but a different type.
    #[error("its `{interface}` is not the one of that name: it has {found}")]
    OtherInterface {
        /// The name of the interface.
        interface: String,
        /// The interface's `handle`, or a message that it has no such function.
        found: String,
    },
    /// The signature has a type that a call can't carry.
    #[error(transparent)]
    Type(#[from] UnsupportedType),
    /// The component has imports that a pure function may not use.
    #[error("it imports {}, which a pure function may not use{}", list(imports), other_wasi(imports))]
    Imports {
        /// The names of the refused imports.
        imports: Vec<String>,
    },
    /// The component exceeds the bounds of an instance: memories, tables, globals, or their sizes.
    #[error("it needs more than an instance may have: {0}")]
    TooLarge(String),
    /// The component doesn't fit the linked imports, such as an interface of another shape.
    #[error("it cannot be linked: {0}")]
    Link(String),
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "nothing".to_owned();
    }
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// Returns the end of a sentence about names of which one has another version of WASI.
fn other_wasi(names: &[String]) -> String {
    let reason = wasi_version::unsupported(names.iter().map(String::as_str));
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}

/// Returns the latest version of WASI that a component imports, for a message.
fn wasi_of(component: &ComponentType, engine: &wasmtime::Engine) -> String {
    let versions = component.imports(engine).filter(|(name, _)| *name != wasi_version::CONFIG);
    let versions = versions.filter_map(|(name, _)| wasi_version::version_of(name));
    // Of one minor version, so only the last number differs.
    let last = |version: &&str| version.rsplit('.').next().and_then(|last| last.parse::<u64>().ok());
    let latest = versions.max_by_key(last);
    latest.map(|version| format!(" (it was built for WASI {version})")).unwrap_or_default()
}

/// A linked component, ready to be instantiated.
pub struct Loaded {
    pub(super) engine: Engine,
    /// The form, with the data to call it.
    pub kind: Kind,
    /// Calls and instances started, at most [`USES_MAX`], less the uses that
    /// [`take_use`](Self::take_use) took.
    uses: AtomicU8,
}

/// Maximum number of counted uses of a component: more uses predict nothing about the next.
pub const USES_MAX: u8 = 3;

impl Loaded {
    /// Counts the start of a call or of an instance.
    pub(super) fn count_use(&self) {
        // The count is usually at the maximum, so the cache line stays unmodified. If two threads
        // count at once, one use may be lost.
        let uses = self.uses.load(Ordering::Relaxed);
        if uses < USES_MAX {
            self.uses.store(uses + 1, Ordering::Relaxed);
        }
    }

    /// Takes one counted use and returns true, or returns false if the count is zero.
    pub fn take_use(&self) -> bool {
        self.uses.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |uses| uses.checked_sub(1)).is_ok()
    }
}

/// The form of a function, with the data to call it.
pub enum Kind {
    /// A typed function.
    Typed(Typed),
    /// A raw function.
    Raw(FunctionPre<Sandbox>),
    /// A function of the http form.
    Http(ProxyPre<Sandbox>),
}

impl Kind {
    fn form(&self) -> Form {
        match self {
            Self::Typed(_) => Form::Typed,
            Self::Raw(_) => Form::Raw,
            Self::Http(_) => Form::Http,
        }
    }
}

/// A typed function: its reflected signature, and the export to call.
pub struct Typed {
    pub(super) pre: InstancePre<Sandbox>,
    pub(super) handle: ComponentExportIndex,
    /// The reflected signature of `handle`.
    pub signature: Signature,
}

impl Typed {
    /// Returns the kind of a flat result, or of `T` if the result is `result<T, E>` and `T` is
    /// flat.
    pub fn flat_output(&self) -> Option<Flat> {
        let ty = self.signature.result.as_ref()?;
        if let Type::Result(result) = ty { Flat::of(result.ok.as_ref()?) } else { Flat::of(ty) }
    }
}

/// The description of a component that a deploy records.
pub struct Described {
    /// The form.
    pub form: Form,
    /// The signature in WIT.
    pub signature: String,
    /// The author's text about the function.
    pub docs: Option<String>,
    /// JSON Schema of the input, for typed functions.
    pub input_schema: Option<serde_json::Value>,
    /// JSON Schema of the output.
    pub output_schema: Option<serde_json::Value>,
    /// JSON Schema of the function's own error.
    pub error_schema: Option<serde_json::Value>,
    /// The names of the component's imports.
    pub imports: Vec<String>,
    /// Notes for the author, such as imports that are always denied.
    pub notes: Vec<String>,
    /// The reflected signature of a typed function.
    pub types: Option<Signature>,
}

impl Described {
    /// Adds the documentation that the function's own component carries: its text, and those of its
    /// types in the schemas.
    pub fn document(&mut self, component: &[u8]) {
        let names = self
            .types
            .as_ref()
            .map(|signature| signature.params.iter().map(|param| param.name.as_str()).collect::<Vec<_>>());
        let Some(docs) = documentation(component, names.as_deref()) else { return };
        if let Some(signature) = &self.types {
            let schemas = codec::FunctionSchemas {
                input: self.input_schema.as_mut(),
                output: self.output_schema.as_mut(),
                error: self.error_schema.as_mut(),
            };
            codec::describe_schemas(signature, &docs, schemas);
        }
        self.docs = docs.docs;
    }
}

impl Engine {
    /// Links a component and resolves its exports. Runs no guest code.
    ///
    /// # Errors
    /// [`Refused`].
    fn link(&self, component: &Component) -> Result<Loaded, Refused> {
        let ty = component.component_type();
        let engine = self.wasmtime();
        let mut handlers = Vec::new();
        let mut exports = Vec::new();
        for (name, export) in ty.exports(engine) {
            exports.push(name.to_owned());
            if let Some(form) = Form::of_export(name) {
                handlers.push((form, name.to_owned(), export.ty));
            }
        }
        let (form, export, handle) = match handlers.as_slice() {
            [] => return Err(Refused::NoHandle { exports }),
            [(form, export, ty)] => (*form, export, ty),
            [..] => return Err(Refused::Ambiguous),
        };
        check_interface(form, export, handle, engine)?;
        let link = |error: wasmtime::Error| Refused::Link(format!("{error:#}{}", wasi_of(&ty, engine)));
        let pre = self.linker.instantiate_pre(component).map_err(link)?;
        let kind = match form {
            Form::Typed => {
                let ComponentItem::ComponentFunc(func) = handle else { return Err(Refused::NotAFunction) };
                let index = component.get_export_index(None, "handle").ok_or(Refused::NotAFunction)?;
                if func.async_() {
                    return Err(Refused::NotAFunction);
                }
                Kind::Typed(Typed { pre, handle: index, signature: codec::reflect(func)? })
            }
            Form::Raw => Kind::Raw(FunctionPre::new(pre).map_err(link)?),
            Form::Http => Kind::Http(ProxyPre::new(pre).map_err(link)?),
        };
        Ok(Loaded { engine: self.clone(), kind, uses: AtomicU8::new(0) })
    }

    fn describe(&self, component: &Component) -> Result<Described, Refused> {
        let imports = purity::classify(&component.component_type(), self.wasmtime());
        if !imports.refused.is_empty() {
            return Err(Refused::Imports { imports: imports.refused });
        }
        let loaded = self.link(component)?;
        let mut described = Described {
            form: loaded.kind.form(),
            signature: String::new(),
            docs: None,
            input_schema: None,
            output_schema: None,
            error_schema: None,
            imports: imports.all,
            notes: imports.notes,
            types: None,
        };
        match &loaded.kind {
            Kind::Typed(typed) => describe(typed, &mut described),
            Kind::Raw(_) => "handle: func(request: payload) -> result<payload, error>"
                .clone_into(&mut described.signature),
            Kind::Http(_) => "wasi:http/incoming-handler".clone_into(&mut described.signature),
        }
        Ok(described)
    }

    /// Describes an artefact that has just been compiled.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn describe_compiled(&self, artefact: &[u8]) -> Result<Described, Refused> {
        // The compiler has accepted the component, so loading fails only if the pool has no room
        // for it.
        let component =
            load_bytes(self, artefact).map_err(|error| Refused::TooLarge(format!("{error:#}")))?;
        self.describe(&component)
    }

    /// Describes an authenticated artefact.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn describe_artefact(&self, artefact: &std::path::Path) -> Result<Described, Refused> {
        let component =
            self.map_artefact(artefact).map_err(|error| Refused::TooLarge(format!("{error:#}")))?;
        self.describe(&component)
    }

    /// Maps an authenticated artefact and links it.
    ///
    /// # Errors
    /// A message. Since the deploy accepted the component, the fault is the host's.
    pub fn load(&self, artefact: &std::path::Path) -> Result<Loaded, String> {
        let component = self.map_artefact(artefact).map_err(|error| format!("{error:#}"))?;
        self.link(&component).map_err(|error| error.to_string())
    }
}

/// Checks the type of an interface's `handle`, because linking checks only its name.
fn check_interface(
    form: Form,
    export: &str,
    ty: &ComponentItem,
    engine: &wasmtime::Engine,
) -> Result<(), Refused> {
    if form == Form::Typed {
        return Ok(());
    }
    let handle = match ty {
        ComponentItem::ComponentInstance(instance) => instance.get_export(engine, "handle"),
        ComponentItem::ComponentFunc(_)
        | ComponentItem::CoreFunc(_)
        | ComponentItem::Module(_)
        | ComponentItem::Component(_)
        | ComponentItem::Type(_)
        | ComponentItem::Resource(_) => None,
    };
    let found = match handle.map(|handle| handle.ty) {
        Some(ComponentItem::ComponentFunc(func)) => {
            let params: Vec<_> = func.params().map(|(_, ty)| ty).collect();
            let two_resources = matches!(params.as_slice(), [Reflected::Own(_), Reflected::Own(_)]);
            let signature = signature_of(&func);
            if (form == Form::Raw && signature == RAW_HANDLE)
                || (form == Form::Http && two_resources && func.results().len() == 0)
            {
                return Ok(());
            }
            format!("`{signature}`")
        }
        Some(_) | None => "no function `handle`".to_owned(),
    };
    Err(Refused::OtherInterface { interface: export.to_owned(), found })
}

/// Returns the text of a signature. The text has no bound, so it is cut; [`RAW_HANDLE`] is shorter
/// than the cut.
fn signature_of(func: &ComponentFunc) -> String {
    codec::reflect_excerpt("handle", func).unwrap_or_else(|| "handle: func(…)".to_owned())
}

fn describe(typed: &Typed, described: &mut Described) {
    let Signature { params, result } = &typed.signature;
    described.types = Some(typed.signature.clone());
    described.signature = codec::signature_text("handle", &typed.signature);
    described.input_schema = codec::input_schema(params);
    match result {
        None => {}
        Some(Type::Result(result)) => {
            described.output_schema = result.ok.as_ref().map(codec::answer_schema);
            described.error_schema = result.err.as_ref().map(codec::answer_schema);
        }
        Some(ty) => described.output_schema = Some(codec::answer_schema(ty)),
    }
}
