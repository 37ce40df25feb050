//! An instance, from before its call is known until after its answer is.
//!
//! ```text
//! Loaded --prepare--> Ready --run--> Spent --drop--> (its slot is reset and free)
//! ```
//!
//! All three run synchronously on the thread that asks; only `run` needs a request, so the other two
//! may be done before and after it. A call is given an allowance. When it is over the call is
//! cut off wherever it is, which says nothing about the function: a pure call may be begun again.
//!
//! Invariants:
//! * Nothing of a ready instance depends on whom it will serve: its start-up code has seen no input.
//! * An instance never goes back: `run` consumes it.

use nebula_codec::Input;
use nebula_model::limits::Limits;
use wasmtime::Store;
use wasmtime::component::Func;
use wasmtime_wasi_http::p2::bindings::sync::Proxy;

use super::Engine;
use super::call::{self, Ended, Stopped};
use super::component::{Kind, Loaded, RawFunction};
use super::ticker::InFlight;
use crate::purity::{Allowance, Sandbox};

/// Most bytes that a guest may make the host hold while a value crosses over, beyond what its
/// limits allow for input and output.
const CROSSING_BYTES_SLACK: usize = 1024 * 1024;

/// A fresh instance that waits for its call.
pub struct Ready {
    store: Store<Sandbox>,
    live: Live,
}

/// The instance, and the export to call.
pub(super) enum Live {
    Typed(Func),
    Raw(RawFunction),
    Http(Proxy),
}

/// An instance that has served. Dropping it resets its slot, which takes a while.
pub struct Spent {
    _store: Store<Sandbox>,
}

impl Engine {
    /// A store for one instance of the component `digest`, under `limits` and with `allowance` to start up.
    pub(super) fn store(&self, limits: &Limits, digest: &[u8; 32], allowance: Allowance) -> Store<Sandbox> {
        let mut store = Store::new(self.wasmtime(), Sandbox::new(limits, *digest, allowance));
        store.limiter(|sandbox| &mut sandbox.quota);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().allowance.tick()));
        store.set_epoch_deadline(1);
        let crossing = limits.input_bytes_max.saturating_add(limits.output_bytes_max).saturating_mul(8);
        store.set_hostcall_fuel(
            usize::try_from(crossing).unwrap_or(usize::MAX).saturating_add(CROSSING_BYTES_SLACK),
        );
        store
    }
}

impl Loaded {
    /// Keeps the clock of deadlines ticking, and counts a use of the component.
    pub fn begin(&self) -> InFlight<'_> {
        self.count_use();
        self.engine.counter.begin()
    }

    /// Makes an instance, running the component's start-up code within `allowance`.
    ///
    /// `digest` is the component's, for the random stream.
    ///
    /// # Errors
    /// As of a call; there is no output.
    pub fn prepare(
        &self,
        _ticking: &InFlight<'_>,
        digest: &[u8; 32],
        limits: &Limits,
        allowance: Allowance,
    ) -> Result<Ready, Box<Ended>> {
        let mut store = self.engine.store(limits, digest, allowance);
        let live = match &self.kind {
            Kind::Typed(typed) => typed.pre.instantiate(&mut store).and_then(|instance| {
                instance
                    .get_func(&mut store, typed.handle)
                    .map(Live::Typed)
                    .ok_or_else(|| wasmtime::format_err!("the export `handle` is gone"))
            }),
            Kind::Raw(pre) => pre.instantiate(&mut store).map(Live::Raw),
            Kind::Http(pre) => pre.instantiate(&mut store).map(Live::Http),
        };
        match live {
            Ok(live) => Ok(Ready { store, live }),
            Err(error) => {
                let log = store.data().log();
                let stopped = call::explain(&error, &store, &log, limits);
                Err(Box::new(Ended { result: Err(stopped), log, denied: false }))
            }
        }
    }
}

impl Ready {
    /// Runs the call. `loaded` and `limits` are what it was prepared with.
    pub fn run(
        mut self,
        _ticking: &InFlight<'_>,
        loaded: &Loaded,
        limits: &Limits,
        input: &Input,
        allowance: Allowance,
    ) -> (Ended, Spent) {
        self.store.data_mut().begin(call::seed_input(input), allowance);
        self.store.set_epoch_deadline(1);
        let ended = call::call(&mut self.store, &self.live, &loaded.kind, input, limits);
        (ended, Spent { _store: self.store })
    }
}

impl Ended {
    /// Whether another try elsewhere may come to more: it was cut off, or there was no room.
    pub fn is_undecided(&self) -> bool {
        matches!(self.result, Err(Stopped::CutOff | Stopped::NoSlot))
    }
}
