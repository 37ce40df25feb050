//! Which imports a pure function may have, and what they are linked to.
//!
//! Linked: all of `wasi:{cli,clocks,filesystem,http,io,random,sockets}@0.2`, because the standard
//! libraries of Rust, Python and JavaScript guests import most of it whether they use it or not.
//! What can't be pure is denied at each use, the same way each time, and noted at deploy.
//! Anything else is refused at deploy, by name.

use wasmtime::Result;
use wasmtime::component::types::{Component as ComponentType, ComponentItem};
use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::bindings::sync::io::{poll, streams};

use super::Sandbox;
use super::http::deny_outgoing;
use super::sockets::deny_sockets;

/// The packages that are linked, at any 0.2 version.
const LINKED: [&str; 7] = [
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:http/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];

/// Linked, and denied at each use.
const DENIED: [(&str, &str); 2] =
    [("wasi:sockets/", "network sockets"), ("wasi:http/outgoing-handler", "outgoing HTTP requests")];

/// What a component asks for, sorted by what it gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Imports {
    /// Every import by name.
    pub all: Vec<String>,
    /// For a reader: which imports are there and yet denied.
    pub notes: Vec<String>,
    /// Imports that no pure function may have.
    pub refused: Vec<String>,
}

/// Sorts the imports of a component.
pub(crate) fn classify(component: &ComponentType, engine: &wasmtime::Engine) -> Imports {
    let mut imports = Imports::default();
    for (name, import) in component.imports(engine) {
        imports.all.push(name.to_owned());
        let linked = name.contains("@0.2.") && LINKED.iter().any(|package| name.starts_with(package));
        if !linked && !is_types_only(&import.ty, engine) {
            imports.refused.push(name.to_owned());
        }
    }
    for (prefix, what) in DENIED {
        if imports.all.iter().any(|name| name.starts_with(prefix)) {
            imports.notes.push(format!("imports {what} (`{prefix}…`): every use is denied"));
        }
    }
    imports
}

/// Type imports need nothing from the host: WIT worlds that name types of an interface have them.
fn is_types_only(item: &ComponentItem, engine: &wasmtime::Engine) -> bool {
    match item {
        ComponentItem::Type(_) => true,
        ComponentItem::ComponentInstance(instance) => {
            instance.exports(engine).all(|(_, item)| is_types_only(&item.ty, engine))
        }
        ComponentItem::ComponentFunc(_)
        | ComponentItem::CoreFunc(_)
        | ComponentItem::Module(_)
        | ComponentItem::Component(_)
        | ComponentItem::Resource(_) => false,
    }
}

/// A linker with everything a pure function may import.
///
/// # Errors
/// Never in practice: only if two definitions clashed.
pub(crate) fn linker(engine: &wasmtime::Engine) -> Result<Linker<Sandbox>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_sync(&mut linker)?;
    // Ours for what would wait, sleep or reach out.
    linker.allow_shadowing(true);
    monotonic_clock::add_to_linker::<_, HasSelf<Sandbox>>(&mut linker, |sandbox| sandbox)?;
    poll::add_to_linker::<_, HasSelf<Sandbox>>(&mut linker, |sandbox| sandbox)?;
    streams::add_to_linker::<_, HasSelf<Sandbox>>(&mut linker, |sandbox| sandbox)?;
    deny_outgoing(&mut linker)?;
    deny_sockets(&mut linker)?;
    Ok(linker)
}
