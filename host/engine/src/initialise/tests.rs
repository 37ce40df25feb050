//! Tests of snapshots of small components, and of components that can't be snapshotted.

use super::*;
use crate::compile_artefact;

/// Builds a component with a memory and a mutable global. `initialise` is the body of the
/// initialiser; `handle` returns the word at address 0 plus the global.
fn component(memory: &str, initialise: &str) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(component
            (core module $m
                (memory (export "memory") {memory})
                (global $g (mut i32) (i32.const 1))
                (table $t 1 funcref)
                (func (export "initialise") {initialise})
                (func (export "handle") (result i32) (i32.add (global.get $g) (i32.load (i32.const 0)))))
            (core instance $i (instantiate $m))
            (func (export "wizer-initialize") (canon lift (core func $i "initialise")))
            (func (export "handle") (result s32) (canon lift (core func $i "handle"))))"#
    ))
    .unwrap()
}

fn failed(component: &[u8]) -> InitialiseError {
    match initialised(component, Codegen::Optimised) {
        Ok(_) => panic!("there is a snapshot"),
        Err(error) => error,
    }
}

/// Returns the answer of `handle` on an instance of `component` as given.
fn answer(component: &[u8]) -> i32 {
    let engine = wasmtime::Engine::default();
    let component = Component::new(&engine, component).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = wasmtime::component::Linker::new(&engine).instantiate(&mut store, &component).unwrap();
    let handle = instance.get_typed_func::<(), (i32,)>(&mut store, "handle").unwrap();
    handle.call(&mut store, ()).unwrap().0
}

const STORE_AND_SET: &str = "(i32.store (i32.const 0) (i32.const 40)) (global.set $g (i32.const 2))";

#[test]
fn snapshot_keeps_memories_and_globals() {
    let component = component("1", STORE_AND_SET);
    assert_eq!(answer(&component), 1);
    let snapshot = initialised(&component, Codegen::Optimised).unwrap();
    assert_eq!(answer(&snapshot), 42);
}

/// Neither a second run nor other code generation changes the snapshot.
#[test]
fn same_component_gives_the_same_snapshot() {
    let component = component("1", STORE_AND_SET);
    let snapshot = initialised(&component, Codegen::Optimised).unwrap();
    for codegen in [Codegen::Optimised, Codegen::Baseline] {
        assert_eq!(initialised(&component, codegen).unwrap(), snapshot, "{codegen:?}");
    }
}

#[test]
fn component_without_initialiser_is_compiled_unchanged() {
    let component = wat::parse_str("(component (core module (func (export \"wizer-initialize\"))))").unwrap();
    assert!(matches!(initialised(&component, Codegen::Optimised), Ok(Cow::Borrowed(_))));
    // The compiler reports the error in such bytes.
    assert!(matches!(initialised(b"\0asm", Codegen::Optimised), Ok(Cow::Borrowed(_))));
}

/// Memory that the initialiser grew exists from the start; the page that reading takes doesn't.
#[test]
fn grown_memory_keeps_its_size() {
    let component = component("1", "(i32.store (i32.const 0) (memory.grow (i32.const 9)))");
    let snapshot = initialised(&component, Codegen::Optimised).unwrap();
    let mut pages = Vec::new();
    for payload in Parser::new(0).parse_all(&snapshot) {
        if let Payload::MemorySection(memories) = payload.unwrap() {
            pages.extend(memories.into_iter().map(|memory| memory.unwrap().initial));
        }
    }
    assert_eq!((pages, answer(&snapshot)), (vec![10], 2));
}

#[test]
fn failures_report_the_reason_and_the_stack() {
    let trapped = failed(&component("1", "unreachable"));
    assert!(
        matches!(&trapped, InitialiseError::Trapped(failure)
        if failure.reason.contains("unreachable") && failure.backtrace.len() == 1),
        "{trapped}"
    );
    let too_much = failed(&component("1", "(drop (memory.grow (i32.const 1024))) unreachable"));
    assert!(matches!(too_much, InitialiseError::ResourceLimit { max: INITIALISE_MEMORY_BYTES_MAX, .. }));
    let at_once = failed(&component("1025", ""));
    assert!(matches!(at_once, InitialiseError::ResourceLimit { .. }), "{at_once}");
}

#[test]
fn size_added_by_a_snapshot_is_bounded() {
    let fill = "(memory.fill (i32.const 0) (i32.const 1) (i32.const 0x2100000))";
    let large = failed(&component("600", fill));
    assert!(matches!(large, InitialiseError::TooLarge { bytes } if bytes > SNAPSHOT_ADDED_BYTES_MAX as u64));
}

#[test]
fn state_that_cannot_be_snapshotted_is_refused() {
    let table = failed(&component("1", "(table.set $t (i32.const 0) (ref.null func))"));
    assert!(table.to_string().contains("table.set"), "{table}");
    // A full memory leaves no page to be read through.
    let full = failed(&component("1 1", ""));
    assert!(matches!(full, InitialiseError::Unsupported(_)), "{full}");
}

#[test]
fn export_of_another_shape_is_refused() {
    let instance = "(component (component $c) (instance (export \"wizer-initialize\") (instantiate $c)))";
    let takes = r#"(component
        (core module $m (func (export "f") (param i32)))
        (core instance $i (instantiate $m))
        (func (export "wizer-initialize") (param "n" u32) (canon lift (core func $i "f"))))"#;
    for text in [instance, takes] {
        let error = failed(&wat::parse_str(text).unwrap());
        assert!(matches!(error, InitialiseError::NotAFunction), "{text}: {error}");
    }
}

/// References to the export stay valid.
#[test]
fn export_may_be_exported_again() {
    let component = wat::parse_str(
        r#"(component
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (export $once "wizer-initialize" (func $f))
            (export "handle" (func $once)))"#,
    )
    .unwrap();
    assert!(compile_artefact(&component, Codegen::Optimised).is_ok());
}

/// A deploy describes the component, and that step names the import.
#[test]
fn component_that_cannot_be_linked_is_left_to_the_description() {
    let component = wat::parse_str(
        r#"(component
            (import "own:thing/of" (func $import))
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func (export "wizer-initialize") (canon lift (core func $i "f"))))"#,
    )
    .unwrap();
    assert!(matches!(initialised(&component, Codegen::Optimised), Ok(Cow::Borrowed(_))));
}
