//! Test support: an engine that runs any component, and components written as text.

#![expect(clippy::unwrap_used, reason = "test support fails by panicking")]

use nebula_codec::Signature;
use nebula_model::configuration::Configuration;
use nebula_model::id::Digest;
use nebula_model::limits::Limits;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Val};

use crate::purity::{Allowance, CancelFlag};
use crate::{Codegen, Engine, Ticker};

/// An engine like the serving ones but without a pool, so a chain may have any number of memories.
pub struct Host {
    engine: Engine,
    _ticker: Ticker,
}

impl Host {
    /// Starts a host with its own ticker.
    pub fn start() -> Self {
        let ticker = Ticker::start().unwrap();
        let engine = Engine::for_initialisation(Codegen::Optimised, &ticker).unwrap();
        Self { engine, _ticker: ticker }
    }

    /// Returns the signature of the component's `handle`.
    pub fn signature(&self, component: &[u8]) -> Signature {
        let component = Component::new(self.engine.wasmtime(), component).unwrap();
        let Some((ComponentItem::ComponentFunc(func), _)) = component.get_export(None, "handle") else {
            panic!("no handle")
        };
        nebula_codec::reflect(&func).unwrap()
    }

    /// Runs `handle` on each of the inputs.
    pub fn run(&self, component: &[u8], inputs: &[Vec<Val>]) -> Vec<Result<Option<Val>, String>> {
        let component = Component::new(self.engine.wasmtime(), component).unwrap();
        let linked = self.engine.linker.instantiate_pre(&component).unwrap();
        let results = self.signature_of(&component);
        let run = |input: &Vec<Val>| {
            let _ticking = self.engine.counter.begin();
            let allowance = Allowance::long(
                std::time::Instant::now() + std::time::Duration::from_secs(60),
                CancelFlag::default(),
            );
            let mut store = self.engine.store(
                &Limits::default(),
                Digest::of(b"").bytes(),
                &Configuration::default(),
                allowance,
            );
            let instance = linked.instantiate(&mut store).map_err(|error| format!("{error:#}"))?;
            let func = instance.get_func(&mut store, "handle").unwrap();
            let mut answer = vec![Val::Bool(false); results];
            func.call(&mut store, input, &mut answer).map_err(|error| format!("{error:#}"))?;
            Ok(answer.pop())
        };
        inputs.iter().map(run).collect()
    }

    fn signature_of(&self, component: &Component) -> usize {
        match component.get_export(None, "handle") {
            Some((ComponentItem::ComponentFunc(func), _)) => func.results().len(),
            _ => panic!("no handle"),
        }
    }

    /// Runs `handle` once.
    pub fn run_one(&self, component: &[u8], input: &[Val]) -> Result<Option<Val>, String> {
        self.run(component, &[input.to_vec()]).remove(0)
    }
}

/// Returns the binary of a component written as text.
pub fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// Builds a function from core code. `body` is the body of the core function; `ty` and `core` are
/// its type as text, in the component and in the module.
pub fn function(ty: &str, core: &str, body: &str) -> Vec<u8> {
    wat(&format!(
        r#"(component
            (core module $m
                (memory (export "memory") 1)
                (global $top (mut i32) (i32.const 1024))
                (func $realloc (export "realloc") (param i32 i32 i32 i32) (result i32)
                    (global.set $top (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
                    global.get $top
                    (global.set $top (i32.add (global.get $top) (local.get 3))))
                (func (export "handle") {core} {body}))
            (core instance $i (instantiate $m))
            (func (export "handle") {ty}
                (canon lift (core func $i "handle")
                    (memory (core memory $i "memory"))
                    (realloc (core func $i "realloc")))))"#
    ))
}
