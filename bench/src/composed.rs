//! What a chain is without the platform: its functions and a caller, composed by hand with wac.
//!
//! ```text
//! let at0 = new nebula:step { ... }; let at1 = …            the same function, an instance for each step
//! let caller = new nebula:caller { step0: at0.handle, … };  calls one after the other
//! ```
//!
//! The caller is what somebody has to write for that: a memory, through which each hop goes, and as many calls.
//! What comes of it runs in wasmtime set up as Nebula's is, with nothing of a platform around it: called in this process, and
//! over HTTP by hyper on one thread, which makes the next instance once it has answered.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use anyhow::Context;
use clap::Args as ClapArgs;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use wasmtime::component::{Component, InstancePre, Linker, TypedFunc};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};

use crate::hyper_alone;
use crate::prepare;

/// Composes `steps` times `step`, a component with `handle: func(input: list<u8>) -> list<u8>`, below `directory`; gives its
/// path.
///
/// # Errors
/// wac's.
pub(crate) fn compose(wac: &Path, step: &Path, steps: usize, directory: &Path) -> anyhow::Result<PathBuf> {
    let at = |name: &str| directory.join(format!("{name}-{steps}"));
    let (caller, document, composed) = (
        at("caller").with_extension("wat"),
        at("chain").with_extension("wac"),
        at("chain").with_extension("wasm"),
    );
    std::fs::write(&caller, caller_of(steps))?;
    std::fs::write(&document, document_of(steps))?;
    let dependency = |name: &str, path: &Path| format!("nebula:{name}={}", path.display());
    let mut command = Command::new(wac);
    command.arg("compose").arg(&document);
    command.args(["--dep", &dependency("step", step), "--dep", &dependency("caller", &caller)]);
    prepare::run(command.arg("--output").arg(&composed))?;
    Ok(composed)
}

fn document_of(steps: usize) -> String {
    let mut document = "package nebula:chain;\n".to_owned();
    let mut with = String::new();
    for step in 0..steps {
        // What it imports of the host is imported once for all. No name is a keyword, as `s8` is.
        let _ = writeln!(document, "let at{step} = new nebula:step {{ ... }};");
        let _ = write!(with, " step{step}: at{step}.handle,");
    }
    let _ = writeln!(document, "let caller = new nebula:caller {{{with} }};\nexport caller.handle;");
    document
}

/// Of a module: where what a step returns is said to be.
const RETURNED: usize = 16;

fn caller_of(steps: usize) -> String {
    let [mut imports, mut lowered, mut given, mut imported, mut calls] = [const { String::new() }; 5];
    for step in 0..steps {
        let _ = writeln!(imports, "(import \"step{step}\" (func $step-{step} (type $step)))");
        let _ = writeln!(
            lowered,
            "(core func $lowered-{step} (canon lower (func $step-{step})
                (memory (core memory $heap \"memory\")) (realloc (core func $heap \"realloc\"))))"
        );
        let _ = writeln!(given, "(export \"{step}\" (func $lowered-{step}))");
        let _ = writeln!(imported, "(import \"steps\" \"{step}\" (func $step-{step} (param i32 i32 i32)))");
        let input = match step {
            0 => "(local.get 0) (local.get 1)".to_owned(),
            _ => format!("(i32.load (i32.const {RETURNED})) (i32.load (i32.const {}))", RETURNED + 4),
        };
        let _ = writeln!(calls, "(call $step-{step} {input} (i32.const {RETURNED}))");
    }
    format!(
        r#"(component
            (type $step (func (param "input" (list u8)) (result (list u8))))
            {imports}
            (core module $heap
                (memory (export "memory") 1)
                (global $free (mut i32) (i32.const 1024))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                    (global.get $free)
                    (global.set $free (i32.add (global.get $free) (local.get 3)))))
            (core instance $heap (instantiate $heap))
            {lowered}
            (core module $caller
                (import "heap" "memory" (memory 1))
                {imported}
                (func (export "handle") (param i32 i32) (result i32)
                    {calls}
                    (i32.const {RETURNED})))
            (core instance $caller (instantiate $caller
                (with "heap" (instance $heap)) (with "steps" (instance {given}))))
            (func (export "handle") (type $step)
                (canon lift (core func $caller "handle")
                    (memory (core memory $heap "memory")) (realloc (core func $heap "realloc")))))"#
    )
}

type Handle = TypedFunc<(Vec<u8>,), (Vec<u8>,)>;

/// A composed component in wasmtime, and nothing around it.
pub(crate) struct Alone {
    engine: Engine,
    component: InstancePre<()>,
    /// An instance that nobody has called.
    ready: Option<(Store<()>, Handle)>,
    /// What holds the one that was.
    called: Option<Store<()>>,
}

/// Core instances, memories and tables of the longest chain.
const CORE_INSTANCES_MAX: u32 = 256;
const MEMORIES_MAX: u32 = 24;
const TABLES_MAX: u32 = 64;

/// Of a memory, what is put back as it was instead of being given back, bytes; likewise of a table.
const MEMORY_KEEP_RESIDENT_BYTES: usize = 1024 * 1024;
const TABLE_KEEP_RESIDENT_BYTES: usize = 64 * 1024;

impl Alone {
    /// Compiles it, for an engine with all that Nebula's has which bears on speed.
    ///
    /// # Errors
    /// wasmtime's.
    pub(crate) fn open(component: &Path) -> anyhow::Result<Self> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(1)
            .total_core_instances(CORE_INSTANCES_MAX)
            .max_core_instances_per_component(CORE_INSTANCES_MAX)
            .total_memories(MEMORIES_MAX)
            .max_memories_per_component(MEMORIES_MAX)
            .total_tables(TABLES_MAX)
            .max_tables_per_component(TABLES_MAX)
            .total_stacks(0)
            .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT_BYTES)
            .table_keep_resident(TABLE_KEEP_RESIDENT_BYTES)
            .pagemap_scan(wasmtime::Enabled::Auto);
        let mut config = Config::new();
        config
            .wasm_component_model(true)
            .concurrency_support(false)
            .cranelift_nan_canonicalization(true)
            .relaxed_simd_deterministic(true)
            .epoch_interruption(true)
            .memory_init_cow(true)
            .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config)?;
        let component = Component::from_file(&engine, component)?;
        let mut linker = Linker::new(&engine);
        // The echo imports what the standard library may want of the host, and uses none of it.
        linker.define_unknown_imports_as_traps(&component)?;
        let component = linker.instantiate_pre(&component)?;
        let mut alone = Self { engine, component, ready: None, called: None };
        alone.prepare()?;
        Ok(alone)
    }

    /// Gives up the instance that was called, and makes the next one.
    ///
    /// # Errors
    /// wasmtime's.
    pub(crate) fn prepare(&mut self) -> anyhow::Result<()> {
        // The pool has room for one.
        (self.ready, self.called) = (None, None);
        let mut store = Store::new(&self.engine, ());
        // As one that is held to a deadline, which never comes.
        store.set_epoch_deadline(1);
        let instance = self.component.instantiate(&mut store)?;
        let handle = instance.get_typed_func(&mut store, "handle")?;
        self.ready = Some((store, handle));
        Ok(())
    }

    /// Calls the instance that was made ahead.
    ///
    /// # Errors
    /// When it traps, or was called before.
    pub(crate) fn call(&mut self, input: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        let (mut store, handle) = self.ready.take().context("no instance was made ahead")?;
        let (answer,) = handle.call(&mut store, (input,))?;
        // It is given up with what comes next, not in the time of this call.
        self.called = Some(store);
        Ok(answer)
    }
}

/// What is served.
#[derive(Debug, ClapArgs)]
pub(crate) struct Serve {
    /// The component
    component: PathBuf,
}

/// Prints the address, then serves until killed.
///
/// # Errors
/// wasmtime's, and the system's.
pub(crate) fn serve(serve: &Serve) -> anyhow::Result<()> {
    let alone = Rc::new(RefCell::new(Alone::open(&serve.component)?));
    let listener = hyper_alone::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    println!("http://{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await.context("cannot accept")?;
            stream.set_nodelay(true)?;
            let alone = Rc::clone(&alone);
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(
                TokioIo::new(stream),
                service_fn(move |request| answer(Rc::clone(&alone), request)),
            );
            // A connection that breaks off is noticed by the load.
            tokio::task::spawn_local(async move {
                let _ = connection.await;
            });
        }
    })
}

async fn answer(
    alone: Rc<RefCell<Alone>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let answered = match request.into_body().collect().await {
        Ok(body) => alone.borrow_mut().call(body.to_bytes().to_vec()).ok(),
        Err(_) => None,
    };
    // Runs once the answer is on the wire.
    tokio::task::spawn_local(async move {
        // If there is none the next request says so.
        let _ = alone.borrow_mut().prepare();
    });
    let mut response = Response::new(Full::default());
    match answered {
        Some(body) => *response.body_mut() = Full::new(body.into()),
        None => *response.status_mut() = StatusCode::BAD_GATEWAY,
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_an_instance_and_goes_into_the_caller() {
        let expected = "package nebula:chain;\n\
                        let at0 = new nebula:step { ... };\n\
                        let at1 = new nebula:step { ... };\n\
                        let caller = new nebula:caller { step0: at0.handle, step1: at1.handle, };\n\
                        export caller.handle;\n";
        assert_eq!(document_of(2), expected);
    }
}
