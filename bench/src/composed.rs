//! A chain without the platform: its functions and a caller, composed with wac.
//!
//! ```text
//! let at0 = new nebula:step { ... }; let at1 = …            one function, an instance for each step
//! let caller = new nebula:caller { step0: at0.handle, … };  calls the steps in order
//! ```
//!
//! The caller is the code that a developer would write for this: a memory, through which each hop
//! passes, and one call per step. The composed component runs in wasmtime, configured like
//! Nebula's, without a platform around it: called in this process, and over HTTP by hyper on one
//! thread, which creates the next instance after each answer.

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

/// Composes a chain of `steps` instances of `step`, a component with `handle: func(input: list<u8>)
/// -> list<u8>`, in `directory`, and returns its path.
///
/// # Errors
/// Returns an error if wac fails.
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
        // `...` imports from the host once for all steps. The names avoid keywords such as `s8`.
        let _ = writeln!(document, "let at{step} = new nebula:step {{ ... }};");
        let _ = write!(with, " step{step}: at{step}.handle,");
    }
    let _ = writeln!(document, "let caller = new nebula:caller {{{with} }};\nexport caller.handle;");
    document
}

/// The address at which a step stores the address and length of its result.
const RETURNED: usize = 16;

fn caller_of(steps: usize) -> String {
    let [mut imports, mut lowered, mut exports, mut core_imports, mut calls] = [const { String::new() }; 5];
    for step in 0..steps {
        let _ = writeln!(imports, "(import \"step{step}\" (func $step-{step} (type $step)))");
        let _ = writeln!(
            lowered,
            "(core func $lowered-{step} (canon lower (func $step-{step})
                (memory (core memory $heap \"memory\")) (realloc (core func $heap \"realloc\"))))"
        );
        let _ = writeln!(exports, "(export \"{step}\" (func $lowered-{step}))");
        let _ =
            writeln!(core_imports, "(import \"steps\" \"{step}\" (func $step-{step} (param i32 i32 i32)))");
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
                {core_imports}
                (func (export "handle") (param i32 i32) (result i32)
                    {calls}
                    (i32.const {RETURNED})))
            (core instance $caller (instantiate $caller
                (with "heap" (instance $heap)) (with "steps" (instance {exports}))))
            (func (export "handle") (type $step)
                (canon lift (core func $caller "handle")
                    (memory (core memory $heap "memory")) (realloc (core func $heap "realloc")))))"#
    )
}

type Handle = TypedFunc<(Vec<u8>,), (Vec<u8>,)>;

/// A composed component in bare wasmtime.
pub(crate) struct BareComponent {
    engine: Engine,
    component: InstancePre<()>,
    /// An instance that hasn't been called yet.
    ready: Option<(Store<()>, Handle)>,
    /// The store of the instance that served the last call.
    spent: Option<Store<()>>,
}

/// The core instances, memories and tables of the longest chain.
const CORE_INSTANCES_MAX: u32 = 256;
const MEMORIES_MAX: u32 = 24;
const TABLES_MAX: u32 = 64;

/// The bytes of a memory and of a table that a reset restores instead of unmapping.
const MEMORY_KEEP_RESIDENT_BYTES: usize = 1024 * 1024;
const TABLE_KEEP_RESIDENT_BYTES: usize = 64 * 1024;

impl BareComponent {
    /// Compiles a component for an engine with every setting of Nebula's that affects speed.
    ///
    /// # Errors
    /// Returns an error if wasmtime does.
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
        // The echo's standard library imports host functions and never calls them.
        linker.define_unknown_imports_as_traps(&component)?;
        let component = linker.instantiate_pre(&component)?;
        let mut bare = Self { engine, component, ready: None, spent: None };
        bare.prepare()?;
        Ok(bare)
    }

    /// Drops the spent instance and creates the next one.
    ///
    /// # Errors
    /// Returns an error if wasmtime does.
    pub(crate) fn prepare(&mut self) -> anyhow::Result<()> {
        // Free the only slot of the pool first.
        (self.ready, self.spent) = (None, None);
        let mut store = Store::new(&self.engine, ());
        // Deadlines are checked, as in Nebula, but never reached.
        store.set_epoch_deadline(1);
        let instance = self.component.instantiate(&mut store)?;
        let handle = instance.get_typed_func(&mut store, "handle")?;
        self.ready = Some((store, handle));
        Ok(())
    }

    /// Calls the instance that is ready.
    ///
    /// # Errors
    /// Returns an error if the instance traps, or if no instance is ready.
    pub(crate) fn call(&mut self, input: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        let (mut store, handle) = self.ready.take().context("no instance is ready")?;
        let (answer,) = handle.call(&mut store, (input,))?;
        // `prepare` drops the store, so that the time of this call doesn't include it.
        self.spent = Some(store);
        Ok(answer)
    }
}

/// The arguments of `composed-alone`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Serve {
    /// The component
    component: PathBuf,
}

/// Prints the address, then serves until it is killed.
///
/// # Errors
/// Returns an error if the component can't be opened or the server can't listen.
pub(crate) fn serve(serve: &Serve) -> anyhow::Result<()> {
    let component = Rc::new(RefCell::new(BareComponent::open(&serve.component)?));
    let listener = hyper_alone::listen(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    println!("http://{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await.context("cannot accept")?;
            stream.set_nodelay(true)?;
            let component = Rc::clone(&component);
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(
                TokioIo::new(stream),
                service_fn(move |request| answer(Rc::clone(&component), request)),
            );
            // The load reports connections that fail.
            tokio::task::spawn_local(async move {
                let _ = connection.await;
            });
        }
    })
}

async fn answer(
    component: Rc<RefCell<BareComponent>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let output = match request.into_body().collect().await {
        Ok(body) => component.borrow_mut().call(body.to_bytes().to_vec()).ok(),
        Err(_) => None,
    };
    // This task runs after the answer is written.
    tokio::task::spawn_local(async move {
        // After an error the next request fails, because no instance is ready.
        let _ = component.borrow_mut().prepare();
    });
    let mut response = Response::new(Full::default());
    match output {
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
    fn the_document_has_an_instance_per_step_and_a_caller() {
        let expected = "package nebula:chain;\n\
                        let at0 = new nebula:step { ... };\n\
                        let at1 = new nebula:step { ... };\n\
                        let caller = new nebula:caller { step0: at0.handle, step1: at1.handle, };\n\
                        export caller.handle;\n";
        assert_eq!(document_of(2), expected);
    }
}
