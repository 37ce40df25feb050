//! Components linked with what they import, run; and what isn't linked.

use nebula_engine::testing::{Host, function, wat};
use wasmtime::component::Val;

use super::*;

/// Links a component with functions, which are in the order of its imports.
fn link(component: &[u8], functions: &[&[u8]]) -> Result<Vec<u8>, Unlinked> {
    let functions: Vec<_> = functions.iter().map(|function| function.to_vec()).collect();
    let importer = Importer::read(component)?.expect("it imports functions");
    importer.link(component, &functions)
}

/// Why an import can't be satisfied.
fn refused(component: &[u8], functions: &[&[u8]]) -> InvalidImport {
    match link(component, functions) {
        Err(Unlinked::Import(error)) => error,
        Err(Unlinked::Importer(error)) => panic!("{error}"),
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

/// Calls what it imports twice. `import` is its declaration, as `$f`.
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
fn a_function_is_called() {
    let host = Host::start();
    for import in [INTERFACE, r#"(import "add-one" (func $f (param "x" s32) (result s32)))"#] {
        let twice = twice(import);
        assert_eq!(imported_functions(&twice), ["add-one".parse().unwrap()]);
        let linked = link(&twice, &[&add_one()]).unwrap();
        assert_eq!(host.run_one(&linked, &[Val::S32(40)]), Ok(Some(Val::S32(42))));
        assert_eq!(linked, link(&twice, &[&add_one()]).unwrap());
        let read = Read::of(&linked).unwrap();
        assert_eq!((read.imports, read.exports), (vec![], vec!["handle".to_owned()]));
        // What is linked is a function like any other, and can be linked itself.
        let again = link(&twice, &[&linked]).unwrap();
        assert_eq!(host.run_one(&again, &[Val::S32(40)]), Ok(Some(Val::S32(44))));
    }
}

#[test]
fn what_imports_no_function_is_left_alone() {
    assert!(Importer::read(&add_one()).unwrap().is_none());
    // Types of a function alone are types.
    let types = wat(r#"(component
            (import "nebula:functions/f" (instance (type $r (record (field "a" u8))) (export "r" (type (eq $r))))))"#);
    assert!(Importer::read(&types).unwrap().is_none());
    assert_eq!(imported_functions(b"none"), []);
}

/// A record and an enum: `row` is `{ cell: cell, kind: kind }`, with the names given.
fn gives_back(names: [&str; 3]) -> Vec<u8> {
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

/// The types of an interface, and its function.
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

/// Whatever the types are called on the two sides, and whoever uses them.
#[test]
fn types_are_the_same_by_their_structure() {
    let host = Host::start();
    let rows = gives_back(["t0", "line", "t1"]);
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
    assert!(error.to_string().contains("`x` is no `row`"), "{error}");
    // The option takes a byte more than the tuple: it is the importer that reads it as it likes.
    let linked = link(&importer, &[&rows]).unwrap();
    let row = |n, kind: &str| {
        Val::Record(vec![
            ("cell".to_owned(), Val::Record(vec![("n".to_owned(), Val::U8(n))])),
            ("kind".to_owned(), Val::Enum(kind.to_owned())),
        ])
    };
    let answer = host.run_one(&linked, &[row(0, "b")]);
    assert_eq!(answer, Ok(Some(Val::Tuple(vec![row(1, "b")]))));
    // Types are called what the importer calls them, and not what they were called elsewhere.
    assert_eq!(Read::of(&linked).unwrap().imports, ["cell", "kind", "row"]);
}

/// A raw one: an interface with types of its own is exported as it is.
#[test]
fn other_forms_are_exported_as_they_are() {
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
    let read = Read::of(&linked).unwrap();
    assert_eq!(read.exports, ["nebula:function/handler@0.1.0"]);
    assert_eq!(read.imports, Vec::<String>::new());
}

#[test]
fn what_cannot_be_linked_is_told_apart() {
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
        assert!(Read::of(&text).is_ok());
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
        Err(Unlinked::Importer(InvalidImporter::NoHandle { exports })) if exports == ["run"]
    ));
    let also = importing(
        &format!(r#"{INTERFACE} (import "acme:mail/send" (instance (export "f" (func))))"#),
        "handle",
    );
    assert!(matches!(
        link(&also, &[&add_one()]),
        Err(Unlinked::Importer(InvalidImporter::Imports { imports })) if imports == ["acme:mail/send"]
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

/// The same with an export that would be run when it is compiled.
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

/// A type that is small, and millions of types once it is written out.
#[test]
fn types_are_counted_as_they_are_written_out() {
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

/// So are cases that hold nothing, and names.
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

/// Types that are shared where they come from are written for each who imports them: that has an end, too.
#[test]
fn no_more_types_are_written_than_may_be() {
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
    assert!(error.contains("what is imported has too many types"), "{error}");
}

/// Names count by their length: a few types may have very many bytes of them.
#[test]
fn no_more_of_names_is_written_than_may_be() {
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
    assert!(error.contains("what is imported has too many types, or too large ones"), "{error}");
}
