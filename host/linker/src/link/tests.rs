//! Runs linked components, and checks which components are refused.

use nebula_codec::UnsupportedType;
use nebula_engine::testing::{Host, function, wat};
use wasmtime::component::Val;

use super::*;

/// Links a component with functions in the order of its imports.
fn link(component: &[u8], functions: &[&[u8]]) -> Result<Vec<u8>, LinkError> {
    let functions: Vec<_> = functions.iter().map(|function| function.to_vec()).collect();
    let importer = Importer::read(component)?.expect("it imports functions");
    importer.link(component, &functions)
}

/// Returns the reason why linking is refused for an import.
fn refused(component: &[u8], functions: &[&[u8]]) -> InvalidImport {
    match link(component, functions) {
        Err(LinkError::Import(error)) => error,
        Err(LinkError::Importer(error)) => panic!("{error}"),
        Ok(_) => panic!("it was linked"),
    }
}

fn add_one() -> Vec<u8> {
    function(
        r#"(param "x" s32) (result s32)"#,
        "(param i32) (result i32)",
        "(i32.add (local.get 0) (i32.const 1))",
    )
}

/// A function that calls its import twice. `import` declares it as `$f`.
fn twice(import: &str) -> Vec<u8> {
    wat(&format!(
        r#"(component
            {import}
            (core func $f' (canon lower (func $f)))
            (core module $m
                (import "" "f" (func $f (param i32) (result i32)))
                (func (export "handle") (param i32) (result i32) (call $f (call $f (local.get 0)))))
            (core instance $i (instantiate $m (with "" (instance (export "f" (func $f'))))))
            (func (export "handle") (param "x" s32) (result s32) (canon lift (core func $i "handle"))))"#
    ))
}

const INTERFACE: &str = r#"
    (import "nebula:functions/add-one" (instance $i (export "handle" (func (param "x" s32) (result s32)))))
    (alias export $i "handle" (func $f))"#;

#[test]
fn a_linked_component_calls_the_imported_function() {
    let host = Host::start();
    for import in [INTERFACE, r#"(import "add-one" (func $f (param "x" s32) (result s32)))"#] {
        let twice = twice(import);
        assert_eq!(imported_functions(&twice), ["add-one".parse().unwrap()]);
        let linked = link(&twice, &[&add_one()]).unwrap();
        assert_eq!(host.run_one(&linked, &[Val::S32(40)]), Ok(Some(Val::S32(42))));
        assert_eq!(linked, link(&twice, &[&add_one()]).unwrap());
        assert_eq!(importer_of(&linked), Some(&*twice));
        assert!(components_in(&linked).contains(&&*add_one()));
        let read = ParsedComponent::parse(&linked).unwrap();
        assert_eq!((read.imports, read.exports), (vec![], vec!["handle".to_owned()]));
        // A linked component is a function like any other, and can be linked itself.
        let again = link(&twice, &[&linked]).unwrap();
        assert_eq!(host.run_one(&again, &[Val::S32(40)]), Ok(Some(Val::S32(44))));
    }
}

#[test]
fn components_without_imported_functions_need_no_linking() {
    assert!(Importer::read(&add_one()).unwrap().is_none());
    // An interface of types alone imports no function.
    let types = wat(r#"(component
            (import "nebula:functions/f" (instance (type $r (record (field "a" u8))) (export "r" (type (eq $r))))))"#);
    assert!(Importer::read(&types).unwrap().is_none());
    assert_eq!(imported_functions(b"none"), []);
}

/// A function of `row`, a record `{ cell: cell, kind: kind }`, that increments the cell. `names`
/// are the names of its types.
fn increment_row(names: [&str; 3]) -> Vec<u8> {
    let [row, cell, kind] = names;
    wat(&format!(
        r#"(component
            (type $cell' (record (field "n" u8)))
            (import "{cell}" (type $cell (eq $cell')))
            (type $kind' (enum "a" "b"))
            (import "{kind}" (type $kind (eq $kind')))
            (type $row' (record (field "cell" $cell) (field "kind" $kind)))
            (import "{row}" (type $row (eq $row')))
            (core module $m
                (memory (export "memory") 1)
                (func (export "handle") (param i32 i32) (result i32)
                    (i32.store8 (i32.const 16) (i32.add (local.get 0) (i32.const 1)))
                    (i32.store8 (i32.const 17) (local.get 1))
                    (i32.const 16)))
            (core instance $i (instantiate $m))
            (func $f (param "row" $row) (result (option $row)) (canon lift (core func $i "handle")
                (memory (core memory $i "memory"))))
            (export "handle" (func $f)))"#
    ))
}

/// An interface with types and a function.
const ROWS: &str = r#"
    (import "nebula:functions/rows" (instance $rows
        (type $cell' (record (field "n" u8)))
        (export "cell" (type $cell (eq $cell')))
        (type $kind' (enum "a" "b"))
        (export "kind" (type $kind (eq $kind')))
        (type $row' (record (field "cell" $cell) (field "kind" $kind)))
        (export "row" (type $row (eq $row')))
        (type $unused' (variant (case "x" $row) (case "y")))
        (export "unused" (type $unused (eq $unused')))
        (export "also-row" (type (eq $row)))
        (export "numbers" (type (eq $numbers)))
        (export "handle" (func (param "row" $row) (result $row)))))"#;

/// Type names may differ between the import and the function.
#[test]
fn types_are_compared_by_structure() {
    let host = Host::start();
    let rows = increment_row(["t0", "line", "t1"]);
    let importer = wat(&format!(
        r#"(component
            (type $numbers (list u32))
            {}
            (alias export $rows "row" (type $row))
            (import "row" (type $mine (eq $row)))
            (core module $heap (memory (export "memory") 1))
            (core instance $heap (instantiate $heap))
            (core func $f (canon lower (func $rows "handle") (memory (core memory $heap "memory"))))
            (core module $m
                (import "" "f" (func $f (param i32 i32 i32)))
                (func (export "handle") (param i32 i32) (result i32)
                    (call $f (local.get 0) (local.get 1) (i32.const 64)) (i32.const 64)))
            (core instance $i (instantiate $m (with "" (instance (export "f" (func $f))))))
            (func $g (param "it" $mine) (result (tuple $row)) (canon lift (core func $i "handle")
                (memory (core memory $heap "memory"))))
            (export "handle" (func $g)))"#,
        ROWS.replace("(result $row)", "(result (option $row))")
    ));
    let error = refused(&importer, &[&add_one()]);
    assert!(error.to_string().contains("expected `row`, found `x`"), "{error}");
    // The option has a discriminant that the tuple lacks: the importer must use its own
    // declaration.
    let linked = link(&importer, &[&rows]).unwrap();
    let row = |n, kind: &str| {
        Val::Record(vec![
            ("cell".to_owned(), Val::Record(vec![("n".to_owned(), Val::U8(n))])),
            ("kind".to_owned(), Val::Enum(kind.to_owned())),
        ])
    };
    let answer = host.run_one(&linked, &[row(0, "b")]);
    assert_eq!(answer, Ok(Some(Val::Tuple(vec![row(1, "b")]))));
    // The linked component uses the importer's names.
    assert_eq!(ParsedComponent::parse(&linked).unwrap().imports, ["cell", "kind", "row"]);
}

/// The importer has the raw form, whose interface has types of its own.
#[test]
fn importers_of_other_forms_keep_their_exports() {
    let importer = wat(&format!(
        r#"(component
            {INTERFACE}
            (core module $m
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8))
                (func (export "handle") (param i32 i32 i32 i32) (result i32) (i32.const 16)))
            (core instance $i (instantiate $m))
            (type $payload' (record (field "media-type" string) (field "body" (list u8))))
            (type $error' (variant (case "bad-input" string) (case "failed" string)))
            (component $handler
                (type $payload' (record (field "media-type" string) (field "body" (list u8))))
                (import "payload" (type $payload (eq $payload')))
                (type $error' (variant (case "bad-input" string) (case "failed" string)))
                (import "error" (type $error (eq $error')))
                (import "handle" (func $f (param "request" $payload) (result (result $payload (error $error)))))
                (export $payload'' "payload" (type $payload))
                (export $error'' "error" (type $error))
                (export "handle" (func $f)
                    (func (param "request" $payload'') (result (result $payload'' (error $error''))))))
            (func $handle (param "request" $payload') (result (result $payload' (error $error')))
                (canon lift (core func $i "handle") (memory (core memory $i "memory"))
                    (realloc (core func $i "realloc"))))
            (instance $exported (instantiate $handler
                (with "payload" (type $payload')) (with "error" (type $error')) (with "handle" (func $handle))))
            (export "nebula:function/handler@0.1.0" (instance $exported)))"#
    ));
    let linked = link(&importer, &[&add_one()]).unwrap();
    let read = ParsedComponent::parse(&linked).unwrap();
    assert_eq!(read.exports, ["nebula:function/handler@0.1.0"]);
    assert_eq!(read.imports, Vec::<String>::new());
}

#[test]
fn each_reason_for_refusal_has_its_own_error() {
    let twice = twice(INTERFACE);
    let other = function(r#"(param "y" s32) (result s32)"#, "(param i32) (result i32)", "(local.get 0)");
    let InvalidImport::Mismatch(mismatch) = refused(&twice, &[&other]) else { panic!("it fits") };
    assert_eq!(mismatch.imported, "handle: func(x: s32) -> s32");
    assert_eq!(mismatch.deployed, "handle: func(y: s32) -> s32");
    let wider = function(r#"(param "x" s32) (result s64)"#, "(param i32) (result i64)", "(i64.const 0)");
    let InvalidImport::Mismatch(mismatch) = refused(&twice, &[&wider]) else { panic!("it fits") };
    assert_eq!((&*mismatch.at, &*mismatch.found, &*mismatch.expected), ("result", "s64", "s32"));
    let untyped = wat("(component)");
    assert!(matches!(refused(&twice, &[&untyped]), InvalidImport::Form { .. }));
    let long = vec![0; COMPONENT_BYTES_MAX];
    assert!(matches!(refused(&twice, &[&long]), InvalidImport::TooLarge { .. }));

    let initialises = |component: &[u8]| {
        let text = wasm_with_initialise(component);
        assert!(ParsedComponent::parse(&text).is_ok());
        text
    };
    let begins = initialises(&add_one());
    assert!(matches!(refused(&twice, &[&begins]), InvalidImport::Initialises { function: Some(_) }));
    let importing = |imports: &str, export: &str| {
        wat(&format!(
            r#"(component
                {imports}
                (core module $m (func (export "handle")))
                (core instance $i (instantiate $m))
                (func (export "{export}") (canon lift (core func $i "handle"))))"#
        ))
    };
    let itself = importing(INTERFACE, "wizer-initialize");
    assert!(matches!(refused(&itself, &[&add_one()]), InvalidImport::Initialises { function: None }));
    let handles_nothing = importing(INTERFACE, "run");
    assert!(matches!(
        link(&handles_nothing, &[&add_one()]),
        Err(LinkError::Importer(InvalidImporter::NoHandle { exports })) if exports == ["run"]
    ));
    let also = importing(
        &format!(r#"{INTERFACE} (import "acme:mail/send" (instance (export "f" (func))))"#),
        "handle",
    );
    assert!(matches!(
        link(&also, &[&add_one()]),
        Err(LinkError::Importer(InvalidImporter::Imports { imports })) if imports == ["acme:mail/send"]
    ));

    let read = |imports: &str| Importer::read(&importing(imports, "handle")).map(|_| ());
    let shaped = |name: &str, exports: &str| {
        read(&format!(r#"(import "nebula:functions/{name}" (instance {exports}))"#))
    };
    let handle = r#"(export "handle" (func))"#;
    assert!(shaped("f", handle).is_ok());
    assert!(matches!(shaped("f@1.0.0", handle), Err(InvalidImport::Versioned { .. })));
    assert!(matches!(shaped("F", handle), Err(InvalidImport::Name { .. })));
    assert!(matches!(shaped("f", r#"(export "run" (func))"#), Err(InvalidImport::Shape { .. })));
    let two = r#"(export "handle" (func)) (export "other" (func))"#;
    assert!(matches!(shaped("f", two), Err(InvalidImport::Shape { .. })));
    let resource = r#"(export "r" (type (sub resource))) (export "handle" (func))"#;
    assert!(matches!(shaped("f", resource), Err(InvalidImport::Shape { .. })));
    let many: String = (0..=FUNCTIONS_IMPORTED_MAX).map(|at| format!(r#"(import "f{at}" (func))"#)).collect();
    assert!(matches!(read(&many), Err(InvalidImport::TooMany { functions: 17 })));
}

/// Adds an export that would run when the component is compiled.
fn wasm_with_initialise(component: &[u8]) -> Vec<u8> {
    let mut outer = ComponentBuilder::default();
    let inner = outer.component_raw(None, component);
    let instance = outer.instantiate(None, inner, [] as [(String, ComponentExportKind, u32); 0]);
    for name in ["handle", INITIALISES] {
        let func = outer.alias_export(instance, "handle", ComponentExportKind::Func);
        outer.export(name, ComponentExportKind::Func, func, None);
    }
    outer.finish()
}

/// A small type with sharing can be millions of types without.
#[test]
fn types_are_counted_without_sharing() {
    let doubled: String =
        (1..16).map(|at| format!("(type $t{at} (tuple $t{} $t{}))", at - 1, at - 1)).collect();
    let import = format!(
        r#"(import "nebula:functions/f" (instance $i
            (type $t0 (tuple u8)) {doubled} (export "handle" (func (param "x" $t15)))))"#
    );
    let component = wat(&format!("(component {import})"));
    let error = Importer::read(&component).err().unwrap();
    assert!(matches!(error, InvalidImport::Type { source: UnsupportedType::TooManyTypes, .. }), "{error}");
}

/// Cases without payload and the bytes of names count too.
#[test]
fn cases_and_names_are_counted_too() {
    let wide = |ty: &str| {
        let parts = "$t ".repeat(9000);
        wat(&format!(
            r#"(component (type $t' {ty}) (import "t" (type $t (eq $t')))
                (type $all (tuple {parts})) (import "f" (func (param "x" $all))))"#
        ))
    };
    let cases: String = (0..1000).map(|at| format!(r#"(case "c{at}")"#)).collect();
    let error = Importer::read(&wide(&format!("(variant {cases})"))).err().unwrap();
    assert!(matches!(error, InvalidImport::Type { source: UnsupportedType::TooManyTypes, .. }), "{error}");
    let name = "n".repeat(10_000);
    let error = Importer::read(&wide(&format!(r#"(record (field "{name}" u8))"#))).err().unwrap();
    assert!(matches!(error, InvalidImport::Type { source: UnsupportedType::NamesTooLong, .. }), "{error}");
}

/// A type that an importer declares once is written again for each import.
#[test]
fn types_written_for_imports_are_bounded() {
    let fields: String = (0..1000).map(|at| format!(r#"(field "f{at}" (tuple u8))"#)).collect();
    let imports = |count: usize| -> String {
        (0..count).map(|at| format!(r#"(import "t{at}" (type (eq $wide)))"#)).collect()
    };
    let importer = |count| {
        wat(&format!(
            r#"(component
                (type $wide (record {fields}))
                {INTERFACE}
                {}
                (core module $m (func (export "handle")))
                (core instance $i (instantiate $m))
                (func (export "handle") (canon lift (core func $i "handle"))))"#,
            imports(count)
        ))
    };
    assert!(link(&importer(10), &[&add_one()]).is_ok());
    let error = refused(&importer(100), &[&add_one()]).to_string();
    assert!(error.contains("the imports have too many types"), "{error}");
}

/// A few types can have very long names.
#[test]
fn names_written_for_imports_are_bounded() {
    let names: String = (0..1000).map(|at| format!(r#" "{}{at}""#, "n".repeat(100))).collect();
    let imports: String = (0..100).map(|at| format!(r#"(import "t{at}" (type (eq $names)))"#)).collect();
    let importer = wat(&format!(
        r#"(component
            (type $names (enum {names}))
            {INTERFACE}
            {imports}
            (core module $m (func (export "handle")))
            (core instance $i (instantiate $m))
            (func (export "handle") (canon lift (core func $i "handle"))))"#,
    ));
    let error = refused(&importer, &[&add_one()]).to_string();
    assert!(error.contains("the imports have too many types, or too large ones"), "{error}");
}
