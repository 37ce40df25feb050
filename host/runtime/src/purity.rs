//! What a guest sees of the world: the same thing, each time.
//!
//! [`Sandbox`] is the state behind one call's imports. It is built from `wasmtime-wasi` and
//! `wasmtime-wasi-http` with everything that could vary taken out: clocks stand still (`clock`),
//! randomness is a function of the digest and the input (`random`), environment, arguments, stdin
//! and files are empty, sockets and outgoing HTTP are denied, and what is printed goes to the
//! call's log (`log`). The few interfaces that may wait are answered by `wait`, without a reactor.
//!
//! Invariants:
//! * No import reads a clock, a file, an entropy source or a socket of the host.
//! * No import blocks the thread: a wait either ends at once, moves the virtual clock, or traps.
//! * A sandbox serves one call.
//!
//! Which imports exist at all is `imports`'s.

mod clock;
mod http;
mod imports;
mod log;
mod random;
mod sockets;
mod wait;

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Result};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use self::http::ResponseSink;
pub(crate) use self::http::ResponseTooLarge;
pub(crate) use self::imports::{classify, linker};
pub use self::log::CallLog;
pub(crate) use self::random::{Seed, SeedInput};

use self::clock::VirtualClock;
use self::http::DenyOutgoing;
use self::log::LogSink;
use crate::limits::{Limits, TABLE_ELEMENTS_CEILING};

/// Handles a guest may hold at once: streams, pollables, bodies, header maps.
const RESOURCES_MAX: usize = 10_000;

/// Most random bytes a guest may ask for at once.
const RANDOM_BYTES_MAX: u64 = 1024 * 1024;

/// The state behind one call's imports.
pub(crate) struct Sandbox {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: DenyOutgoing,
    clock: VirtualClock,
    log: LogSink,
    response: ResponseSink,
    /// Memory and tables, and which of their limits the guest ran into.
    pub(crate) quota: Quota,
}

impl Sandbox {
    /// A sandbox for one call under `limits`, with randomness drawn from `seed`.
    pub(crate) fn new(limits: &Limits, seed: Seed) -> Self {
        let clock = VirtualClock::new();
        let log = LogSink::new(limits.log_bytes_max);
        let seed = Arc::new(seed);
        let wasi = WasiCtx::builder()
            .wall_clock(clock.clone())
            .monotonic_clock(clock.clone())
            .secure_random(seed.stream("secure"))
            .insecure_random(seed.stream("insecure"))
            .insecure_random_seed(0)
            .max_random_size(RANDOM_BYTES_MAX)
            .stdout(log.clone())
            .stderr(log.clone())
            .allow_tcp(false)
            .allow_udp(false)
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        Self {
            table,
            wasi,
            http: WasiHttpCtx::default(),
            hooks: DenyOutgoing,
            clock,
            log,
            response: ResponseSink::new(limits.output_bytes_max),
            quota: Quota::new(limits.memory_bytes_max),
        }
    }

    /// What the guest has printed so far.
    pub(crate) fn log(&self) -> CallLog {
        self.log.snapshot()
    }

    /// Where a function of the http form leaves its response.
    pub(crate) fn response(&mut self) -> &mut ResponseSink {
        &mut self.response
    }
}

impl WasiView for Sandbox {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Sandbox {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Bounds the memories and tables of one instance, all together.
#[derive(Debug)]
pub(crate) struct Quota {
    memory_bytes_max: u64,
    memory_bytes: u64,
    /// The first limit that a growth was refused for.
    pub(crate) refused: Option<Refused>,
}

/// A limit that a guest ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) limit: &'static str,
    pub(crate) max: u64,
}

impl Quota {
    fn new(memory_bytes_max: u64) -> Self {
        Self { memory_bytes_max, memory_bytes: 0, refused: None }
    }
}

impl ResourceLimiter for Quota {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let total = self.memory_bytes.saturating_add((desired - current) as u64);
        let allowed = total <= self.memory_bytes_max;
        if allowed {
            self.memory_bytes = total;
        } else {
            self.refused.get_or_insert(Refused { limit: "memory", max: self.memory_bytes_max });
        }
        Ok(allowed)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let allowed = desired <= TABLE_ELEMENTS_CEILING;
        if !allowed {
            self.refused.get_or_insert(Refused { limit: "table", max: TABLE_ELEMENTS_CEILING as u64 });
        }
        Ok(allowed)
    }
}
