//! The guest's `wasi:clocks/monotonic-clock`, on the virtual clock.

use wasmtime::Result;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::{DynPollable, subscribe};

use super::Sandbox;

impl monotonic_clock::Host for Sandbox {
    fn now(&mut self) -> Result<u64> {
        Ok(self.clock.now_ns())
    }

    fn resolution(&mut self) -> Result<u64> {
        Ok(1)
    }

    fn subscribe_instant(&mut self, when: u64) -> Result<Resource<DynPollable>> {
        let deadline = self.table.push(self.clock.deadline(when))?;
        subscribe(&mut self.table, deadline)
    }

    fn subscribe_duration(&mut self, when: u64) -> Result<Resource<DynPollable>> {
        let at_ns = self.clock.now_ns().saturating_add(when);
        monotonic_clock::Host::subscribe_instant(self, at_ns)
    }
}
