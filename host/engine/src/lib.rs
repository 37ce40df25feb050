//! The engine: wasmtime, configured for pure functions.
//!
//! ```text
//! accepted bytes --initialise, compile--> artefact --load--> Loaded (linked, typed)
//!     --prepare--> Ready --run--> Spent
//! ```
//!
//! Each serving thread has an engine, and the compute lane has one. The slots, instances and
//! reference counts of an engine belong to one core, so cores don't wait for one another.
//!
//! Invariants:
//! * Every call gets its own instance, which is dropped when the call ends.
//! * Nothing compiles on a request's path while the artefact exists.
//! * Code is deterministic: canonical NaNs, deterministic relaxed SIMD, no threads, no shared
//!   memory.
//! * Compilation and execution use the same `Config`, so an artefact's compatibility hash covers
//!   both.
//!
//! `admission` bounds and validates components, `compile` runs the compiler in a child process,
//! `initialise` takes snapshots, `purity` is the sandbox, `component` links, `docs` reads the
//! documentation, and `ready` and `call` run one call.

mod admission;
mod artefact;
mod call;
mod compatibility;
mod compile;
mod component;
mod docs;
mod initialise;
mod live;
pub mod priority;
mod purity;
mod ready;
#[cfg(feature = "testing")]
pub mod testing;
mod ticker;
mod uncompilable;
mod wasi_version;

use std::sync::{Arc, LazyLock};

use nebula_model::limits::{INITIALISE_MEMORY_BYTES_MAX, MEMORY_BYTES_CEILING, TABLE_ELEMENTS_CEILING};
use wasmtime::component::Linker;
use wasmtime::{Config, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

pub use self::admission::{Inadmissible, Unsupported, admit};
pub use self::artefact::compile_artefact;
pub use self::call::{Ended, Failure, Output, Stopped};
pub use self::compile::{CompileError, Compiler, UNCOMPILABLE_EXIT, limit_compiler_process};
pub use self::component::{Described, Kind, Loaded, Refused, Typed, USES_MAX};
pub use self::docs::{DOCS_BYTES_MAX, DOCS_SECTION, documentation};
pub use self::initialise::InitialiseError;
use self::purity::Sandbox;
pub use self::purity::{Allowance, CallLog, CancelFlag, LogStream, thread_time};
pub use self::ready::{Ready, Spent};
use self::ticker::Counter;
pub use self::ticker::{TICK, Ticker};
pub use self::uncompilable::Uncompilable;

/// The version of wasmtime in this build. wasmtime doesn't export it, so a test compares this
/// constant with `Cargo.lock`.
const WASMTIME: &str = "48.0.8";

/// Bytes of a used memory that are zeroed by hand instead of being given back to the kernel.
const MEMORY_KEEP_RESIDENT_BYTES: usize = 1024 * 1024;

/// Bytes of a used table that are zeroed by hand instead of being given back to the kernel.
const TABLE_KEEP_RESIDENT_BYTES: usize = 64 * 1024;

/// Bounds on one component in a pool. The pool has room for every instance to reach them.
#[derive(Clone, Copy)]
struct PerComponent {
    core_instances: u32,
    memories: u32,
    tables: u32,
}

/// Bounds for a single function.
const FUNCTION: PerComponent = PerComponent { core_instances: 64, memories: 4, tables: 16 };

/// Bounds for functions linked into one component: each has its own memory, and so does the glue
/// between them.
const FUSED: PerComponent = PerComponent { core_instances: 256, memories: 24, tables: 64 };

/// Maximum number of live instances of fused components on each serving thread, prepared ones
/// included. Each reserves six times the address space of an ordinary instance.
const FUSED_INSTANCES_MAX: u32 = 8;

/// One of two independent ways to compile. Answers must not depend on the choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codegen {
    /// Optimised code, which serves calls.
    Optimised,
    /// Unoptimised code, which `verify` compares with.
    Baseline,
}

/// Returns the software that computes answers, as product tokens (RFC 9110 §10.1.5): `nebula/0.1.0
/// wasmtime/48.0.8 (x86_64-linux)`.
pub fn identity() -> &'static str {
    static IDENTITY: LazyLock<String> = LazyLock::new(|| {
        let nebula = env!("CARGO_PKG_VERSION");
        format!("nebula/{nebula} wasmtime/{WASMTIME} ({}-{})", std::env::consts::ARCH, std::env::consts::OS)
    });
    &IDENTITY
}

/// One wasmtime engine, its linker, and its part of the deadline clock.
#[derive(Clone)]
pub struct Engine {
    wasmtime: wasmtime::Engine,
    linker: Arc<Linker<Sandbox>>,
    counter: Arc<Counter>,
}

impl Engine {
    /// Creates an engine with room for `instances_max` live instances.
    ///
    /// # Errors
    /// Fails when the address space for the pool can't be reserved.
    pub fn new(instances_max: u32, codegen: Codegen, ticker: &Ticker) -> wasmtime::Result<Self> {
        Self::pooling(instances_max, FUNCTION, codegen, ticker)
    }

    /// Creates an engine for functions that are linked into one component.
    ///
    /// # Errors
    /// The same as [`new`](Self::new).
    pub fn for_fused(codegen: Codegen, ticker: &Ticker) -> wasmtime::Result<Self> {
        Self::pooling(FUSED_INSTANCES_MAX, FUSED, codegen, ticker)
    }

    fn pooling(
        instances_max: u32,
        per_component: PerComponent,
        codegen: Codegen,
        ticker: &Ticker,
    ) -> wasmtime::Result<Self> {
        let mut config = code_config(codegen);
        let pool = pool_config(instances_max, per_component);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        Self::with(&config, ticker)
    }

    /// Creates an engine for one instance, which fits the address space of a compiler process.
    ///
    /// # Errors
    /// The same as [`new`](Self::new).
    fn for_initialisation(codegen: Codegen, ticker: &Ticker) -> wasmtime::Result<Self> {
        let mut config = code_config(codegen);
        config.memory_reservation(INITIALISE_MEMORY_BYTES_MAX).memory_reservation_for_growth(0);
        Self::with(&config, ticker)
    }

    fn with(config: &Config, ticker: &Ticker) -> wasmtime::Result<Self> {
        let wasmtime = wasmtime::Engine::new(config)?;
        let linker = Arc::new(purity::linker(&wasmtime)?);
        let counter = ticker.counter(&wasmtime).ok_or_else(|| wasmtime::format_err!("the clock stopped"))?;
        Ok(Self { wasmtime, linker, counter: Arc::new(counter) })
    }

    /// Returns the number of live instances: prepared, running, or not reset yet.
    pub fn instances(&self) -> u64 {
        self.wasmtime.pooling_allocator_metrics().map_or(0, |metrics| metrics.component_instances())
    }

    /// Returns wasmtime's engine.
    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }
}

/// Returns the settings that determine the generated code.
fn code_config(codegen: Codegen) -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .wasm_component_model_map(true)
        .concurrency_support(false)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_memory64(false)
        .epoch_interruption(true)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(32))
        .memory_init_cow(true)
        .cranelift_opt_level(match codegen {
            Codegen::Optimised => OptLevel::Speed,
            Codegen::Baseline => OptLevel::None,
        });
    config
}

fn pool_config(instances_max: u32, per_component: PerComponent) -> PoolingAllocationConfig {
    let PerComponent { core_instances, memories, tables } = per_component;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances_max)
        .total_core_instances(instances_max.saturating_mul(core_instances))
        .max_core_instances_per_component(core_instances)
        .total_memories(instances_max.saturating_mul(memories))
        .max_memories_per_component(memories)
        .max_memories_per_module(FUNCTION.memories)
        .total_tables(instances_max.saturating_mul(tables))
        .max_tables_per_component(tables)
        .max_tables_per_module(FUNCTION.tables)
        .max_memory_size(usize::try_from(MEMORY_BYTES_CEILING).unwrap_or(usize::MAX))
        .table_elements(TABLE_ELEMENTS_CEILING)
        // Calls run on the thread's own stack; each fiber stack would cost a system call to
        // reserve.
        .total_stacks(0)
        .max_unused_warm_slots(instances_max)
        .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT_BYTES)
        .table_keep_resident(TABLE_KEEP_RESIDENT_BYTES);
    if !swap_is_on() {
        pool.pagemap_scan(wasmtime::Enabled::Auto);
    }
    pool
}

/// Returns whether swap may be active. `pagemap_scan` finds the pages that a guest dirtied, but
/// misses pages that were swapped out, which the next instance would then see. So it is used only
/// without swap.
fn swap_is_on() -> bool {
    match std::fs::read_to_string("/proc/swaps") {
        // The first line is the heading.
        Ok(swaps) => swaps.lines().count() > 1,
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_reports_the_wasmtime_version_in_the_lock_file() {
        let lock = include_str!("../../../Cargo.lock");
        let package = lock.split("[[package]]").find(|package| package.contains("name = \"wasmtime\"\n"));
        assert!(package.unwrap().contains(&format!("version = \"{WASMTIME}\"\n")));
    }
}
