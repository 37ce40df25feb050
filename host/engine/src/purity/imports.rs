//! The imports of a pure function: which ones are allowed, and their implementations.
//!
//! All of `wasi:{cli,clocks,filesystem,http,io,random,sockets}@0.2` is linked, because the standard
//! libraries of Rust, Python and JavaScript guests import most of it even when they don't use it.
//! Impure operations are denied at each use, always in the same way, and noted at deploy. A deploy
//! refuses any other import by name. `wasi:config/store` is linked as well: the function's
//! configuration.

use wasmtime::Result;
use wasmtime::component::types::{Component as ComponentType, ComponentItem};
use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::bindings::sync::io::{poll, streams};

use super::Sandbox;
use super::config::store;
use super::http::deny_outgoing;
use super::omitted_body::allow_omitted_bodies;
use super::sockets::deny_sockets;
use crate::wasi_version;

/// The packages that are linked, at any release of 0.2, and the interface of configuration.
const LINKED: [&str; 8] = [
    wasi_version::CONFIG,
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:http/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];

/// Packages and interfaces that are linked but denied at each use.
const DENIED: [(&str, &str); 2] =
    [("wasi:sockets/", "network sockets"), ("wasi:http/outgoing-handler", "outgoing HTTP requests")];

/// The imports of a component, sorted by their treatment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Imports {
    /// The names of all imports.
    pub all: Vec<String>,
    /// Notes for the author about imports that are linked but always denied.
    pub notes: Vec<String>,
    /// Imports that a pure function may not have.
    pub refused: Vec<String>,
}

/// Sorts the imports of a component.
pub(crate) fn classify(component: &ComponentType, engine: &wasmtime::Engine) -> Imports {
    let mut imports = Imports::default();
    for (name, import) in component.imports(engine) {
        imports.all.push(name.to_owned());
        let linked =
            wasi_version::is_supported(name) && LINKED.iter().any(|package| name.starts_with(package));
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

/// Returns whether an import consists of types alone. WIT worlds that name types of an interface
/// have such imports; they need nothing from the host.
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

/// Creates a linker with everything that a pure function may import.
///
/// # Errors
/// Fails only if two definitions clash, which doesn't happen in practice.
pub(crate) fn linker(engine: &wasmtime::Engine) -> Result<Linker<Sandbox>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_sync(&mut linker)?;
    // Shadow the functions that would wait, sleep or reach the network.
    linker.allow_shadowing(true);
    monotonic_clock::add_to_linker::<_, HasSelf<Sandbox>>(&mut linker, |sandbox| sandbox)?;
    poll::add_to_linker::<_, HasSelf<Sandbox>>(&mut linker, |sandbox| sandbox)?;
    streams::add_to_linker::<_, HasSelf<Sandbox>>(&mut linker, |sandbox| sandbox)?;
    store::add_to_linker::<_, HasSelf<Sandbox>>(&mut linker, |sandbox| sandbox)?;
    deny_outgoing(&mut linker)?;
    allow_omitted_bodies(&mut linker)?;
    deny_sockets(&mut linker)?;
    Ok(linker)
}
