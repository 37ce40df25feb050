//! wasmtime, set up for pure functions.
//!
//! ```text
//! accepted bytes --initialise, compile--> artefact --load--> Loaded (linked, typed) --prepare--> Ready --run--> Spent
//! ```
//!
//! There is an engine for each serving thread and one for the compute lane: its slots, its instances and
//! its reference counts belong to one core, so that cores don't wait for one another.
//!
//! Invariants:
//! * Every call gets an instance of its own, dropped when the call ends.
//! * Nothing compiles on a request's path while its artefact is there.
//! * Code is deterministic: NaNs canonical, relaxed SIMD deterministic, no threads, no shared memory.
//! * Compilation settings and run-time settings are the same `Config`, so that an artefact's
//!   compatibility hash covers both.

mod admission;
mod artefact;
mod call;
mod compile;
mod component;
mod initialise;
pub mod priority;
mod purity;
mod ready;
#[cfg(feature = "testing")]
pub mod testing;
mod ticker;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use nebula_model::limits::{INITIALISE_MEMORY_BYTES_MAX, MEMORY_BYTES_CEILING, TABLE_ELEMENTS_CEILING};
use wasmtime::component::Linker;
use wasmtime::{Config, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

pub use self::admission::{Inadmissible, admit};
pub use self::artefact::compile_artefact;
use self::artefact::load_bytes;
pub use self::call::{Ended, Failure, Output, Stopped};
pub use self::compile::{CompileError, Compiler, UNCOMPILABLE_EXIT, Uncompilable, limit_compiler_process};
pub use self::component::{Described, Kind, Loaded, Refused, Typed, USES_MAX};
pub use self::initialise::InitialiseError;
use self::purity::Sandbox;
pub use self::purity::{Allowance, CallLog, Wanted, thread_time};
pub use self::ready::{Ready, Spent};
use self::ticker::Counter;
pub use self::ticker::Ticker;

/// Of the wasmtime that this is built with, which doesn't tell it itself. A test compares it with `Cargo.lock`.
const WASMTIME: &str = "48.0.8";

/// How often a running call's deadline is looked at.
pub const TICK: Duration = Duration::from_millis(1);

/// Bytes of a used memory that are zeroed by hand rather than given back to the kernel.
const MEMORY_KEEP_RESIDENT_BYTES: usize = 1024 * 1024;

/// Bytes of a used table that are zeroed by hand rather than given back to the kernel.
const TABLE_KEEP_RESIDENT_BYTES: usize = 64 * 1024;

/// What one component may take of a pool. Every instance can have all of it.
#[derive(Clone, Copy)]
struct PerComponent {
    core_instances: u32,
    memories: u32,
    tables: u32,
}

/// A function.
const FUNCTION: PerComponent = PerComponent { core_instances: 64, memories: 4, tables: 16 };

/// Functions that are linked to one: each has a memory of its own, and so has what links them.
const FUSED: PerComponent = PerComponent { core_instances: 256, memories: 24, tables: 64 };

/// Instances alive at once of fused components, on each serving thread: one that runs and those made ahead. Each
/// reserves six times the address space of another.
const FUSED_INSTANCES_MAX: u32 = 8;

/// Which of two independent ways code is compiled in. Answers must not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codegen {
    /// Optimised: what serves.
    Optimised,
    /// Not optimised: what `verify` compares with.
    Baseline,
}

/// What computes answers here, as product tokens (RFC 9110 §10.1.5): `nebula/0.1.0 wasmtime/48.0.8 (x86_64-linux)`.
pub fn identity() -> &'static str {
    static IDENTITY: LazyLock<String> = LazyLock::new(|| {
        let nebula = env!("CARGO_PKG_VERSION");
        format!("nebula/{nebula} wasmtime/{WASMTIME} ({}-{})", std::env::consts::ARCH, std::env::consts::OS)
    });
    &IDENTITY
}

/// One wasmtime engine, its linker, and the clock of its deadlines.
#[derive(Clone)]
pub struct Engine {
    wasmtime: wasmtime::Engine,
    linker: Arc<Linker<Sandbox>>,
    counter: Arc<Counter>,
}

impl Engine {
    /// An engine with room for `instances_max` live instances.
    ///
    /// # Errors
    /// When the address space for the pool can't be reserved.
    pub fn new(instances_max: u32, codegen: Codegen, ticker: &Ticker) -> wasmtime::Result<Self> {
        Self::pooling(instances_max, FUNCTION, codegen, ticker)
    }

    /// An engine for functions that are linked to one component.
    ///
    /// # Errors
    /// As [`new`](Self::new).
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

    /// An engine for one instance, which fits the address space of a compiler process.
    ///
    /// # Errors
    /// As [`new`](Self::new).
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

    /// Names everything that an artefact must agree with to run here.
    pub fn compatibility(&self) -> String {
        use std::hash::{Hash, Hasher};

        // A 64-bit FNV-1a over what wasmtime hashes; authenticity is the registry's MAC, not this.
        struct Fnv(u64);
        impl Hasher for Fnv {
            fn finish(&self) -> u64 {
                self.0
            }
            fn write(&mut self, bytes: &[u8]) {
                for byte in bytes {
                    self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
                }
            }
        }
        let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
        self.wasmtime.precompile_compatibility_hash().hash(&mut hasher);
        initialise::SNAPSHOT_VERSION.hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }

    /// Returns wasmtime's engine.
    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }
}

/// What decides the code that is generated.
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
        // Calls run on the thread's own stack. Stacks for fibers would be reserved with a system call each.
        .total_stacks(0)
        .max_unused_warm_slots(instances_max)
        .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT_BYTES)
        .table_keep_resident(TABLE_KEEP_RESIDENT_BYTES);
    if !swap_is_on() {
        pool.pagemap_scan(wasmtime::Enabled::Auto);
    }
    pool
}

/// `pagemap_scan` finds the pages a guest dirtied; a page that was swapped out isn't among them and
/// would be shown to the next instance. So it is used only where nothing swaps.
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
    fn the_engine_says_which_wasmtime_it_is() {
        let lock = include_str!("../../../Cargo.lock");
        let package = lock.split("[[package]]").find(|package| package.contains("name = \"wasmtime\"\n"));
        assert!(package.unwrap().contains(&format!("version = \"{WASMTIME}\"\n")));
    }
}
