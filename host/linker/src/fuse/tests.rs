//! Runs fused chains, and checks which chains are refused.

use nebula_codec::Type;
use nebula_codec::testing::{any_type, value_of};
use nebula_codec::{Case, Field, MapEntry, Outcome, Primitive};
use nebula_engine::testing::{Host, function, wat};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use wasm_encoder::{
    BlockType, CanonicalOption, CodeSection, EntityType, ExportKind, ExportSection, Function,
    FunctionSection, ImportSection, InstructionSink, MemArg, Module, ModuleArg, TypeSection, ValType,
};
use wasmtime::component::Val;

use super::layout::{Layout, Slot, flatten, payload_at};
use super::*;
use crate::nest::{Names, Types};

/// An output limit that no answer reaches.
const UNBOUNDED: u64 = 1 << 40;

/// Fuses chains of components whose signatures the host reflects.
trait Fuse {
    fn fuse(&self, chain: &[&[u8]]) -> Result<Vec<u8>, FuseError> {
        self.fuse_bounded(chain, UNBOUNDED)
    }

    fn fuse_bounded(&self, chain: &[&[u8]], output_bytes_max: u64) -> Result<Vec<u8>, FuseError>;
}

impl Fuse for Host {
    fn fuse_bounded(&self, chain: &[&[u8]], output_bytes_max: u64) -> Result<Vec<u8>, FuseError> {
        let signatures: Vec<_> = chain.iter().map(|component| self.signature(component)).collect();
        let links = chain.iter().zip(&signatures);
        let links: Vec<_> =
            links.map(|(component, signature)| Link { component, signature, output_bytes_max }).collect();
        super::fuse(&links)
    }
}

fn add_one() -> Vec<u8> {
    function(
        r#"(param "x" s32) (result s32)"#,
        "(param i32) (result i32)",
        "(i32.add (local.get 0) (i32.const 1))",
    )
}

fn double() -> Vec<u8> {
    function(
        r#"(param "number" s32) (result s32)"#,
        "(param i32) (result i32)",
        "(i32.mul (local.get 0) (i32.const 2))",
    )
}

#[test]
fn a_fused_chain_returns_what_its_functions_return_in_sequence() {
    let host = Host::start();
    let (add_one, double) = (add_one(), double());
    let fused = host.fuse(&[&add_one, &double]).unwrap();
    assert_eq!(host.run_one(&fused, &[Val::S32(20)]), Ok(Some(Val::S32(42))));
    let fused = host.fuse(&[&double, &add_one, &double, &add_one]).unwrap();
    assert_eq!(host.run_one(&fused, &[Val::S32(-3)]), Ok(Some(Val::S32(-9))));
}

/// A function that returns its parameter `x: ty`, in a `result` if `fallible`.
fn identity(ty: &Type, fallible: bool) -> Vec<u8> {
    let mut to = ComponentBuilder::default();
    let result = if fallible {
        Type::result(Outcome { ok: Some(ty.clone()), err: Some(Type::STRING) })
    } else {
        ty.clone()
    };
    let signature =
        Types::named(Names::default()).function(&mut to, &[Field::new("x", ty.clone())], Some(&result));
    let heap = to.core_module(None, &super::glue::heap());
    let heap = to.core_instantiate(None, heap, []);
    let memory = to.core_alias_export(None, heap, "memory", ExportKind::Memory);
    let realloc = to.core_alias_export(None, heap, "realloc", ExportKind::Func);
    let module = to.core_module(None, &identity_module(ty, fallible));
    let module = to.core_instantiate(None, module, [("heap", ModuleArg::Instance(heap))]);
    let handle = to.core_alias_export(None, module, "handle", ExportKind::Func);
    let options = [CanonicalOption::UTF8, CanonicalOption::Memory(memory), CanonicalOption::Realloc(realloc)];
    let handle = to.lift_func(None, handle, signature, options);
    to.export("handle", ComponentExportKind::Func, handle, Some(ComponentTypeRef::Func(signature)));
    to.finish()
}

/// Address of the answer, above all that these tests allocate first.
const ANSWER: i32 = 40_000;

fn identity_module(ty: &Type, fallible: bool) -> Module {
    let flat = flatten([ty]);
    let params = flat.clone().unwrap_or_else(|| vec![ValType::I32]);
    let as_core = params.len() == 1 && flat.is_some() && !fallible;
    let mut types = TypeSection::new();
    types.ty().function(params.iter().copied(), if as_core { params.clone() } else { vec![ValType::I32] });
    let mut imports = ImportSection::new();
    imports.import("heap", "memory", EntityType::Memory(super::glue::MEMORY));
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut exports = ExportSection::new();
    exports.export("handle", ExportKind::Func, 0);
    let mut function = Function::new([(1, ValType::I32)]);
    let pointer = u32::try_from(params.len()).unwrap();
    let mut code = function.instructions();
    let at = if fallible {
        payload_at(&Type::result(Outcome { ok: Some(ty.clone()), err: Some(Type::STRING) }))
    } else {
        0
    };
    if as_core {
        code.local_get(0);
    } else if flat.is_some() {
        code.i32_const(ANSWER).local_set(pointer);
        let slots: Vec<_> = (0..).zip(&params).map(|(local, ty)| Slot { local, ty: *ty }).collect();
        store(&mut code, ty, pointer, at, &slots);
        code.local_get(pointer);
    } else if fallible {
        // The payload follows the discriminant.
        code.i32_const(ANSWER + at.cast_signed()).local_get(0).i32_const(Layout::of(ty).size.cast_signed());
        code.memory_copy(0, 0).i32_const(ANSWER);
    } else {
        code.local_get(0);
    }
    code.end();
    let mut section = CodeSection::new();
    section.function(&function);
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&exports).section(&section);
    module
}

/// Writes code that stores slots in memory: the reverse of `load`.
fn store(code: &mut InstructionSink<'_>, ty: &Type, pointer: u32, at: u32, slots: &[Slot]) {
    let memory = |at| MemArg { offset: u64::from(at), align: 0, memory_index: 0 };
    let get = |code: &mut InstructionSink<'_>, slot: Slot, as_type: ValType| {
        code.local_get(slot.local);
        match (slot.ty, as_type) {
            (ValType::I64, ValType::I32) => _ = code.i32_wrap_i64(),
            (ValType::I64, ValType::F64) => _ = code.f64_reinterpret_i64(),
            (ValType::I64, ValType::F32) => _ = code.i32_wrap_i64().f32_reinterpret_i32(),
            (ValType::I32, ValType::F32) => _ = code.f32_reinterpret_i32(),
            (slot, as_type) => assert_eq!(slot, as_type),
        }
    };
    let sequence = |code: &mut InstructionSink<'_>, types: &[&Type]| {
        let (mut end, mut slots) = (at, slots);
        for ty in types {
            let layout = Layout::of(ty);
            // The whole is aligned at least as much as each part.
            let begin = (end - at).next_multiple_of(layout.align) + at;
            let (own, rest) = slots.split_at(flatten([*ty]).unwrap().len());
            store(code, ty, pointer, begin, own);
            (end, slots) = (begin + layout.size, rest);
        }
    };
    let cases = |code: &mut InstructionSink<'_>, payloads: &[Option<&Type>]| {
        for (case, payload) in payloads.iter().enumerate() {
            get(code, slots[0], ValType::I32);
            code.i32_const(i32::try_from(case).unwrap()).i32_eq().if_(BlockType::Empty);
            code.local_get(pointer).i32_const(i32::try_from(case).unwrap()).i32_store8(memory(at));
            if let Some(payload) = payload {
                let own = &slots[1..=flatten([*payload]).unwrap().len()];
                store(code, payload, pointer, at + payload_at(ty), own);
            }
            code.end();
        }
    };
    if let Type::Record(fields) = ty {
        return sequence(code, &fields.iter().map(|field| &field.ty).collect::<Vec<_>>());
    } else if let Type::Tuple(types) = ty {
        return sequence(code, &types.iter().collect::<Vec<_>>());
    } else if let Type::Variant(all) = ty {
        return cases(code, &all.iter().map(|case| case.payload.as_ref()).collect::<Vec<_>>());
    } else if let Type::Option(inner) = ty {
        return cases(code, &[None, Some(inner)]);
    } else if let Type::Result(result) = ty {
        return cases(code, &[result.ok.as_ref(), result.err.as_ref()]);
    }
    code.local_get(pointer);
    match (ty, Layout::of(ty).size) {
        (Type::Primitive(Primitive::Float32), _) => {
            get(code, slots[0], ValType::F32);
            code.f32_store(memory(at));
        }
        (Type::Primitive(Primitive::Float64), _) => {
            get(code, slots[0], ValType::F64);
            code.f64_store(memory(at));
        }
        (Type::Primitive(Primitive::S64 | Primitive::U64), _) => {
            get(code, slots[0], ValType::I64);
            code.i64_store(memory(at));
        }
        (Type::Primitive(Primitive::String) | Type::List(_) | Type::Map(_), _) => {
            get(code, slots[0], ValType::I32);
            code.i32_store(memory(at)).local_get(pointer);
            get(code, slots[1], ValType::I32);
            code.i32_store(memory(at + 4));
        }
        (_, size) => {
            get(code, slots[0], ValType::I32);
            match size {
                1 => code.i32_store8(memory(at)),
                2 => code.i32_store16(memory(at)),
                _ => code.i32_store(memory(at)),
            };
        }
    }
}

/// Checks that chains of identity functions return their input.
fn check_identity(host: &Host, ty: &Type, values: &[Val]) {
    let (plain, fallible) = (identity(ty, false), identity(ty, true));
    let inputs: Vec<_> = values.iter().map(|value| vec![value.clone()]).collect();
    for chain in [vec![&plain, &plain], vec![&plain, &fallible, &plain, &fallible]] {
        let chain: Vec<_> = chain.into_iter().map(Vec::as_slice).collect();
        let fused = host.fuse(&chain).unwrap();
        for (value, answer) in values.iter().zip(host.run(&fused, &inputs)) {
            assert_eq!(answer.as_ref(), Ok(&Some(value.clone())), "{ty:?}");
        }
    }
}

#[test]
fn values_of_any_type_pass_unchanged() {
    let host = Host::start();
    let strategy = any_type().prop_flat_map(|ty| {
        // A chain unwraps a `result`, so it can't be the value itself.
        let ty = if matches!(ty, Type::Result(_)) { Type::Tuple([ty].into()) } else { ty };
        let values = proptest::collection::vec(value_of(&ty), 8);
        (Just(ty), values)
    });
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(96));
    runner
        .run(&strategy, |(ty, values)| {
            check_identity(&host, &ty, &values);
            Ok(())
        })
        .unwrap();
}

/// One type for each kind of layout.
#[test]
fn values_of_any_layout_pass_unchanged() {
    let names = |count: usize| (0..count).map(|at| format!("n{at}")).collect::<Vec<_>>();
    let case = |at: usize, ty: Type| Case::new(format!("c{at}"), Some(ty));
    let types = [
        Type::S8,
        Type::S16,
        Type::FLOAT32,
        Type::Record(
            [Field::new("a", Type::U8), Field::new("b", Type::U64), Field::new("c", Type::STRING)].into(),
        ),
        Type::Variant([case(0, Type::FLOAT32), case(1, Type::U64), case(2, Type::STRING)].into()),
        Type::Variant([case(0, Type::FLOAT32), case(1, Type::S32), Case::new("c2", None)].into()),
        Type::Variant([case(0, Type::FLOAT64), case(1, Type::FLOAT32), case(2, Type::S8)].into()),
        Type::Variant(
            [
                case(0, Type::Variant([case(0, Type::FLOAT32), case(1, Type::CHAR)].into())),
                case(1, Type::Tuple([Type::S64, Type::option(Type::FLOAT32)].into())),
            ]
            .into(),
        ),
        Type::option(Type::option(Type::U8)),
        Type::Enum(names(300).into()),
        Type::Flags(names(1).into()),
        Type::Flags(names(9).into()),
        Type::Flags(names(17).into()),
        Type::Flags(names(32).into()),
        Type::Tuple([const { Type::S16 }; 16].into()),
        Type::Tuple([const { Type::S16 }; 17].into()),
        Type::list(Type::list(Type::STRING)),
        Type::map(MapEntry { key: Type::STRING, value: Type::option(Type::FLOAT64) }),
        Type::Tuple(
            [
                Type::result(Outcome { ok: None, err: Some(Type::S8) }),
                Type::result(Outcome { ok: Some(Type::BOOL), err: None }),
            ]
            .into(),
        ),
    ];
    let host = Host::start();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::default());
    for ty in types {
        let values = proptest::collection::vec(value_of(&ty), 16).new_tree(&mut runner).unwrap().current();
        check_identity(&host, &ty, &values);
    }
}

/// Appends a `!`.
fn exclaim() -> Vec<u8> {
    function(
        r#"(param "text" string) (result string)"#,
        "(param i32 i32) (result i32)",
        "(i32.store8 (i32.add (local.get 0) (local.get 1)) (i32.const 33))
         (i32.store (i32.const 16) (local.get 0))
         (i32.store (i32.const 20) (i32.add (local.get 1) (i32.const 1)))
         i32.const 16",
    )
}

fn text(text: &str) -> Val {
    Val::String(text.to_owned())
}

#[test]
fn text_passes_through_several_memories() {
    let host = Host::start();
    let exclaim = exclaim();
    let fused = host.fuse(&[&exclaim, &exclaim, &exclaim]).unwrap();
    assert_eq!(host.run_one(&fused, &[text("so long")]), Ok(Some(text("so long!!!"))));
    assert_eq!(host.run_one(&fused, &[text("")]), Ok(Some(text("!!!"))));
}

/// Seventeen parameters are passed as a pointer.
#[test]
fn the_first_function_may_take_many_parameters_or_none() {
    let host = Host::start();
    let params: String = (0..17).map(|at| format!("(param \"p{at}\" u64)")).collect();
    let last = function(
        &format!("{params} (result s32)"),
        "(param i32) (result i32)",
        "(i32.load offset=128 (local.get 0))",
    );
    let none = function("(result s32)", "(result i32)", "i32.const 7");
    let fused = host.fuse(&[&last, &add_one()]).unwrap();
    let numbers: Vec<_> = (0..17).map(Val::U64).collect();
    assert_eq!(host.run_one(&fused, &numbers), Ok(Some(Val::S32(17))));
    let fused = host.fuse(&[&none, &double()]).unwrap();
    assert_eq!(host.run_one(&fused, &[]), Ok(Some(Val::S32(14))));
}

/// Halves even numbers and refuses odd ones with a message.
fn halve() -> Vec<u8> {
    function(
        r#"(param "x" s32) (result (result s32 (error string)))"#,
        "(param i32) (result i32)",
        "(i32.store8 (i32.const 16) (i32.and (local.get 0) (i32.const 1)))
         (i32.store (i32.const 20) (i32.const 0))
         (if (i32.eqz (i32.and (local.get 0) (i32.const 1)))
            (then (i32.store (i32.const 20) (i32.div_s (local.get 0) (i32.const 2)))))
         (i32.store (i32.const 24) (i32.const 0))
         i32.const 16",
    )
}

/// Refuses odd numbers without a message, and returns no value.
fn only_even() -> Vec<u8> {
    function(
        r#"(param "x" s32) (result (result))"#,
        "(param i32) (result i32)",
        "(i32.and (local.get 0) (i32.const 1))",
    )
}

#[test]
fn an_error_of_any_function_traps() {
    let host = Host::start();
    let (halve, only_even) = (halve(), only_even());
    let fused = host.fuse(&[&halve, &halve]).unwrap();
    assert_eq!(host.run_one(&fused, &[Val::S32(12)]), Ok(Some(Val::S32(3))));
    for input in [Val::S32(1), Val::S32(2)] {
        assert!(host.run_one(&fused, &[input]).unwrap_err().contains("unreachable"));
    }
    let fused = host.fuse(&[&halve, &only_even]).unwrap();
    assert_eq!(host.run_one(&fused, &[Val::S32(4)]), Ok(None));
    assert!(host.run_one(&fused, &[Val::S32(6)]).unwrap_err().contains("unreachable"));
}

/// The host checks the length of the last answer itself.
#[test]
fn an_answer_that_may_exceed_its_limit_traps() {
    let host = Host::start();
    let exclaim = exclaim();
    let fused = host.fuse_bounded(&[&exclaim, &exclaim], 5).unwrap();
    assert_eq!(host.run_one(&fused, &[text("four")]), Ok(Some(text("four!!"))));
    assert!(host.run_one(&fused, &[text("fives")]).unwrap_err().contains("unreachable"));

    let texts = identity(&Type::list(Type::STRING), false);
    // Two quotes and a comma for 8 bytes, and up to 6 for a byte of text: 2 + 6 × (8 + 2).
    let list = |text: &str| Val::List(vec![Val::String(text.to_owned())]);
    let fused = host.fuse_bounded(&[&texts, &texts], 62).unwrap();
    assert_eq!(host.run_one(&fused, &[list("ab")]), Ok(Some(list("ab"))));
    assert!(host.run_one(&fused, &[list("abc")]).unwrap_err().contains("unreachable"));
}

/// Prints the last digit of its input to stdout and returns the input. `uses` declares more exports
/// of `wasi:io/streams`.
fn prints(version: &str, uses: &str) -> Vec<u8> {
    wat(&format!(
        r#"(component
            (type $error (instance (export "error" (type (sub resource)))))
            (import "wasi:io/error@{version}" (instance $errors (type $error)))
            (alias export $errors "error" (type $e))
            (type $streams' (instance
                (export "output-stream" (type $o (sub resource)))
                (alias outer 1 $e (type $e))
                (export "error" (type $error (eq $e)))
                (type $f' (variant (case "last-operation-failed" (own $error)) (case "closed")))
                (export "stream-error" (type $f (eq $f')))
                {uses}
                (export "[method]output-stream.blocking-write-and-flush"
                    (func (param "self" (borrow $o)) (param "contents" (list u8))
                        (result (result (error $f)))))))
            (import "wasi:io/streams@{version}" (instance $streams (type $streams')))
            (alias export $streams "output-stream" (type $stream))
            (type $stdout' (instance
                (alias outer 1 $stream (type $o'))
                (export "output-stream" (type $o (eq $o')))
                (export "get-stdout" (func (result (own $o))))))
            (import "wasi:cli/stdout@{version}" (instance $stdout (type $stdout')))
            (core module $heap (memory (export "memory") 1))
            (core instance $heap (instantiate $heap))
            (core func $get (canon lower (func $stdout "get-stdout")))
            (core func $write (canon lower
                (func $streams "[method]output-stream.blocking-write-and-flush")
                (memory (core memory $heap "memory"))))
            (core module $m
                (import "heap" "memory" (memory 1))
                (import "host" "get" (func $get (result i32)))
                (import "host" "write" (func $write (param i32 i32 i32 i32)))
                (func (export "handle") (param i32) (result i32)
                    (i32.store8 (i32.const 0)
                        (i32.add (i32.const 48) (i32.rem_u (local.get 0) (i32.const 10))))
                    (call $write (call $get) (i32.const 0) (i32.const 1) (i32.const 16))
                    (local.get 0)))
            (core instance $host (export "get" (func $get)) (export "write" (func $write)))
            (core instance $i
                (instantiate $m (with "heap" (instance $heap)) (with "host" (instance $host))))
            (func (export "handle") (param "x" s32) (result s32) (canon lift (core func $i "handle"))))"#
    ))
}

/// An export of `wasi:io/streams` that `prints` doesn't need.
const CHECK: &str = r#"(export "[method]output-stream.check-write"
    (func (param "self" (borrow $o)) (result (result u64 (error $f)))))"#;

#[test]
fn interfaces_of_the_host_are_imported_once_for_each_version() {
    let host = Host::start();
    let chain = [prints("0.2.0", ""), add_one(), prints("0.2.0", CHECK), add_one(), prints("0.2.3", "")];
    let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    let fused = host.fuse(&chain).unwrap();
    assert_eq!(host.run_one(&fused, &[Val::S32(3)]), Ok(Some(Val::S32(5))));
    assert_eq!(
        ParsedComponent::parse(&fused).unwrap().imports,
        [
            "wasi:io/error@0.2.0",
            "wasi:io/streams@0.2.0",
            "wasi:cli/stdout@0.2.0",
            "wasi:io/error@0.2.3",
            "wasi:io/streams@0.2.3",
            "wasi:cli/stdout@0.2.3",
        ]
    );
}

/// A function of a record named `row`, at world level and in an interface, with one field of that
/// name.
fn of_row(field: &str) -> Vec<u8> {
    wat(&format!(
        r#"(component
            (type $types' (instance
                (type $r' (record (field "{field}" u8)))
                (export "row" (type $r (eq $r')))))
            (import "some:package/types" (instance $types (type $types')))
            (alias export $types "row" (type $r'))
            (import "row" (type $row (eq $r')))
            (core module $m (func (export "handle") (param i32) (result i32) (local.get 0)))
            (core instance $i (instantiate $m))
            (func (export "handle") (param "row" $row) (result (tuple u8))
                (canon lift (core func $i "handle"))))"#
    ))
}

#[test]
fn functions_may_use_one_name_for_different_types() {
    let host = Host::start();
    let back = wat(r#"(component
            (type $row' (record (field "b" u8)))
            (import "row" (type $row (eq $row')))
            (core module $m (func (export "handle") (param i32) (result i32) (local.get 0)))
            (core instance $i (instantiate $m))
            (func (export "handle") (param "cells" (tuple u8)) (result $row)
                (canon lift (core func $i "handle"))))"#);
    let fused = host.fuse(&[&of_row("a"), &back, &of_row("b"), &back]).unwrap();
    let row = |name: &str| Val::Record(vec![(name.to_owned(), Val::U8(9))]);
    assert_eq!(host.run_one(&fused, &[row("a")]), Ok(Some(row("b"))));
}

/// A function that imports a function `f` of that interface.
fn importing(interface: &str, ty: &str) -> Vec<u8> {
    wat(&format!(
        r#"(component
            (import "{interface}" (instance (export "f" (func {ty}))))
            (core module $m (func (export "handle") (param i32) (result i32) (local.get 0)))
            (core instance $i (instantiate $m))
            (func (export "handle") (param "x" s32) (result s32) (canon lift (core func $i "handle"))))"#
    ))
}

#[test]
fn chains_that_could_answer_differently_are_refused() {
    let host = Host::start();
    let add_one = add_one();
    let chain = |other: &[u8]| host.fuse(&[&add_one, other]).unwrap_err();
    let length = |links: usize| host.fuse(&vec![add_one.as_slice(); links]).map(|_| ());
    assert_eq!(length(1), Err(FuseError::Length { links: 1 }));
    assert_eq!(length(20), Ok(()));
    assert_eq!(length(21), Err(FuseError::Length { links: 21 }));
    assert_eq!(chain(&exclaim()), FuseError::Types { step: 0 });
    assert_eq!(host.fuse(&[&add_one, &only_even(), &add_one]), Err(FuseError::Types { step: 1 }));
    let two = function(
        r#"(param "x" s32) (param "y" s32) (result s32)"#,
        "(param i32 i32) (result i32)",
        "(local.get 0)",
    );
    assert_eq!(chain(&two), FuseError::Types { step: 0 });
    for import in
        ["wasi:random/random@0.2.6", "wasi:clocks/monotonic-clock@0.2.0", "wasi:random/insecure@0.2.6"]
    {
        let error = chain(&importing(import, "(result u64)"));
        assert_eq!(error, FuseError::Shared { step: 1, import: import.to_owned() });
    }
    assert!(matches!(chain(&importing("some:package/functions", "")), FuseError::Imports(_)));
    let disagreeing = [
        importing("wasi:cli/environment@0.2.0", "(result u64)"),
        importing("wasi:cli/environment@0.2.0", "(result string)"),
    ];
    assert!(matches!(host.fuse(&[&disagreeing[0], &disagreeing[1]]), Err(FuseError::Imports(_))));
    let initialises = wat(r#"(component
            (core module $m
                (func (export "handle") (param i32) (result i32) (local.get 0))
                (func (export "initialise")))
            (core instance $i (instantiate $m))
            (func (export "handle") (param "x" s32) (result s32) (canon lift (core func $i "handle")))
            (func (export "wizer-initialize") (canon lift (core func $i "initialise"))))"#);
    assert_eq!(chain(&initialises), FuseError::Initialises { step: 1 });
    let untyped = wat("(component)");
    let signature = host.signature(&add_one);
    let link = |component| Link { component, signature: &signature, output_bytes_max: 1000 };
    assert_eq!(fuse(&[link(&add_one), link(&untyped)]), Err(FuseError::Untyped { step: 1 }));
    assert!(matches!(fuse(&[link(&add_one), link(b"none")]), Err(FuseError::Imports(_))));
    assert_eq!(host.fuse_bounded(&[&add_one, &add_one], 10), Err(FuseError::AnswerBound { step: 0 }));
}
