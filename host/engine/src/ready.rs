//! The life of an instance, from before its call arrives until its answer is read.
//!
//! ```text
//! Loaded --prepare--> Ready --run--> Spent --drop--> (its slot is reset and free)
//! ```
//!
//! All three steps run synchronously on the calling thread. Only `run` needs a request; the other
//! two can run before and after it. Every call has an allowance and is interrupted when that runs
//! out, at any instruction. Such an interrupt says nothing about the function: a pure call can be
//! restarted.
//!
//! Invariants:
//! * The state of a ready instance doesn't depend on the call it will serve: its start-up code has
//!   seen no input.
//! * An instance is never reused: `run` consumes it.

use nebula_codec::Input;
use nebula_model::configuration::Configuration;
use nebula_model::limits::Limits;
use wasmtime::Store;

use super::Engine;
use super::call::{self, Ended, Stopped};
use super::component::{Kind, Loaded};
use super::live::Live;
use super::ticker::InFlight;
use crate::purity::{Allowance, Sandbox};

/// Bytes that a guest may make the host hold while a value is copied, on top of the budget for its
/// input and output limits.
const CROSSING_BYTES_SLACK: usize = 1024 * 1024;

/// A new instance that waits for its call.
pub struct Ready {
    store: Store<Sandbox>,
    live: Live,
}

/// An instance that has served its call. Dropping it resets its slot, which takes a while.
pub struct Spent {
    _store: Store<Sandbox>,
}

impl Engine {
    /// Creates a store for one instance of the component `digest`, with `limits`, `config`, and
    /// `allowance` for the start-up.
    pub(super) fn store(
        &self,
        limits: &Limits,
        digest: &[u8; 32],
        config: &Configuration,
        allowance: Allowance,
    ) -> Store<Sandbox> {
        let mut store = Store::new(self.wasmtime(), Sandbox::new(limits, *digest, config, allowance));
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
    /// Keeps the deadline clock ticking while the result lives, and counts a use of the component.
    pub fn begin(&self) -> InFlight<'_> {
        self.count_use();
        self.engine.counter.begin()
    }

    /// Creates an instance and runs the component's start-up code within `allowance`.
    ///
    /// `digest` is the component's and seeds the random stream. The start-up code may read `config`.
    ///
    /// # Errors
    /// The same as for a call, without an output.
    pub fn prepare(
        &self,
        _ticking: &InFlight<'_>,
        digest: &[u8; 32],
        limits: &Limits,
        config: &Configuration,
        allowance: Allowance,
    ) -> Result<Ready, Box<Ended>> {
        let mut store = self.engine.store(limits, digest, config, allowance);
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
    /// Runs the call. `loaded` and `limits` must be those that prepared the instance.
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
    /// Returns whether a retry elsewhere may succeed: the call was interrupted, or no slot was
    /// free.
    pub fn is_undecided(&self) -> bool {
        matches!(self.result, Err(Stopped::CutOff | Stopped::NoSlot))
    }
}
