//! The sandbox: gives a guest the same world every time.
//!
//! [`Sandbox`] is the state behind one call's imports. It is built from `wasmtime-wasi` and
//! `wasmtime-wasi-http` without anything that could vary. Clocks stand still (`clock`), and
//! randomness is a function of the digest and the input (`random`). The environment is the
//! function's configuration (`config`). Arguments, stdin and files are empty. Sockets and outgoing HTTP are denied, and printed text goes to the call's
//! log (`log`). `wait` implements the few interfaces that may wait, without a reactor.
//!
//! Invariants:
//! * No import reads a clock, a file, an entropy source or a socket of the host.
//! * No import blocks the thread: a wait ends at once, moves the virtual clock, or traps.
//! * A sandbox serves one call.
//!
//! `imports` decides which imports exist.

mod allowance;
mod clock;
mod config;
mod http;
mod imports;
mod log;
mod omitted_body;
mod random;
mod request;
mod sockets;
mod timer;
mod wait;

use std::sync::Arc;

use nebula_model::configuration::Configuration;
use nebula_model::limits::{Limits, TABLE_ELEMENTS_CEILING};
use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Result};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

pub use self::allowance::{Allowance, CancelFlag, thread_time};
use self::clock::VirtualClock;
use self::http::DenyOutgoing;
use self::http::ResponseSink;
pub(crate) use self::http::ResponseTooLarge;
pub(crate) use self::imports::{classify, linker};
use self::log::LogSink;
pub use self::log::{CallLog, LogStream};
pub(crate) use self::random::{Seed, SeedInput};

/// Maximum number of handles a guest may hold at once: streams, pollables, bodies, header maps.
/// Together with [`FIELDS_BYTES_MAX`] and the size of a body's chunks (`http`) it bounds the
/// guest's data in the host, where the function's memory limit doesn't apply.
const RESOURCES_MAX: usize = 1_000;

/// Maximum size of the names and values of one `wasi:http` header map, bytes.
const FIELDS_BYTES_MAX: usize = 64 * 1024;

/// Maximum number of random bytes that a guest may request at once.
const RANDOM_BYTES_MAX: u64 = 1024 * 1024;

/// The state behind one call's imports.
pub struct Sandbox {
    table: ResourceTable,
    /// Created when the guest first uses it: many guests never do.
    wasi: Option<Box<WasiCtx>>,
    http: WasiHttpCtx,
    hooks: DenyOutgoing,
    clock: VirtualClock,
    log: LogSink,
    seed: Arc<Seed>,
    config: Configuration,
    response: ResponseSink,
    /// The memory and table quota, with the first limit that the guest hit.
    pub quota: Quota,
    /// The time that the guest may still use.
    pub allowance: Allowance,
}

impl Sandbox {
    /// Creates a sandbox for one call of the component `digest` with `config` under `limits`, with
    /// `allowance` for the start-up. Until [`begin`](Self::begin) its state doesn't depend on the call's input.
    pub fn new(limits: &Limits, digest: [u8; 32], config: &Configuration, allowance: Allowance) -> Self {
        let Limits {
            memory_bytes_max,
            output_bytes_max,
            log_bytes_max,
            // `allowance` enforces it.
            deadline_ms: _,
            // Longer inputs are refused before a sandbox exists.
            input_bytes_max: _,
        } = *limits;
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        let mut http = WasiHttpCtx::default();
        http.set_field_size_limit(FIELDS_BYTES_MAX);
        Self {
            table,
            wasi: None,
            http,
            hooks: DenyOutgoing,
            clock: VirtualClock::new(),
            log: LogSink::new(log_bytes_max),
            seed: Arc::new(Seed::new(digest)),
            config: config.clone(),
            response: ResponseSink::new(output_bytes_max),
            quota: Quota::new(memory_bytes_max),
            allowance,
        }
    }

    /// Begins the call: from now on its input also seeds randomness, and its own allowance applies.
    pub fn begin(&mut self, input: SeedInput, allowance: Allowance) {
        self.seed.begin(input);
        self.allowance = allowance;
    }

    fn wasi(&mut self) -> &mut WasiCtx {
        self.wasi.get_or_insert_with(|| {
            let environment: Vec<_> = self.config.iter().collect();
            let wasi = WasiCtx::builder()
                .envs(&environment)
                .wall_clock(self.clock.clone())
                .monotonic_clock(self.clock.clone())
                .secure_random(self.seed.stream("secure"))
                .insecure_random(self.seed.stream("insecure"))
                .insecure_random_seed(0)
                .max_random_size(RANDOM_BYTES_MAX)
                .stdout(self.log.clone())
                .stderr(self.log.of(LogStream::Stderr))
                .allow_tcp(false)
                .allow_udp(false)
                .build();
            Box::new(wasi)
        })
    }

    /// Returns the text that the guest has printed so far.
    pub fn log(&self) -> CallLog {
        self.log.snapshot()
    }

    /// Returns whether the guest holds a handle of the host's: a stream, a pollable, a descriptor.
    pub fn holds_handles(&self) -> bool {
        !self.table.is_empty()
    }

    /// Lifts the limits after the guest's code has ended: only code that the host added still runs,
    /// within `allowance`.
    pub fn lift_limits(&mut self, allowance: Allowance) {
        self.quota.memory_bytes_max = u64::MAX;
        self.allowance = allowance;
    }

    /// Returns the sink for the response of a function of the http form.
    pub fn response(&mut self) -> &mut ResponseSink {
        &mut self.response
    }
}

impl WasiView for Sandbox {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        self.wasi();
        let Self { wasi: Some(wasi), table, .. } = self else { unreachable!("made in the line above") };
        WasiCtxView { ctx: wasi, table }
    }
}

impl WasiHttpView for Sandbox {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.hooks, table: &mut self.table, ctx: &mut self.http }
    }
}

/// Bounds all memories and tables of one instance together.
#[derive(Debug)]
pub struct Quota {
    memory_bytes_max: u64,
    memory_bytes: u64,
    /// The first limit that refused a growth.
    pub refused: Option<Refused>,
    /// True while a growth within the declared maximum and the limits is under way.
    may_grow: bool,
}

/// The machine lacked memory for a growth that was allowed.
#[derive(Debug, thiserror::Error)]
#[error("the machine has no memory left")]
pub(crate) struct OutOfMemory;

/// A limit that a guest hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    pub limit: &'static str,
    pub max: u64,
}

impl Quota {
    fn new(memory_bytes_max: u64) -> Self {
        Self { memory_bytes_max, memory_bytes: 0, refused: None, may_grow: false }
    }
}

impl ResourceLimiter for Quota {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> Result<bool> {
        let total = self.memory_bytes.saturating_add((desired - current) as u64);
        let allowed = total <= self.memory_bytes_max;
        self.may_grow = allowed && maximum.is_none_or(|maximum| desired <= maximum);
        if allowed {
            self.memory_bytes = total;
        } else {
            self.refused.get_or_insert(Refused { limit: "memory", max: self.memory_bytes_max });
        }
        Ok(allowed)
    }

    /// A guest that sees a growth fail may return another answer. Whether it sees that may depend
    /// on its declared maximum and its limits, but never on the machine.
    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> Result<()> {
        if self.may_grow { Err(OutOfMemory.into()) } else { Ok(()) }
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> Result<bool> {
        let allowed = desired <= TABLE_ELEMENTS_CEILING;
        if !allowed {
            self.refused.get_or_insert(Refused { limit: "table", max: TABLE_ELEMENTS_CEILING as u64 });
        }
        Ok(allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The guest sees a failed growth only if its own limit or declared maximum refused it.
    #[test]
    fn guest_never_sees_the_machine_run_out_of_memory() {
        let mut quota = Quota::new(1000);
        let mut seen = |desired, maximum| {
            let allowed = quota.memory_growing(0, desired, maximum).unwrap();
            let seen = quota.memory_grow_failed(wasmtime::format_err!("no")).is_ok();
            quota.memory_bytes = 0;
            (allowed, seen)
        };
        // The guest requests more than its limit.
        assert_eq!(seen(1001, None), (false, true));
        // The guest requests more than it has declared, which wasmtime refuses.
        assert_eq!(seen(600, Some(500)), (true, true));
        assert_eq!(seen(500, Some(500)), (true, false));
        assert_eq!(seen(1000, None), (true, false));
    }
}
