//! A component's world as WIT, with its documentation.
//!
//! The documentation is in one of two custom sections: `package-docs`, which tools for WIT read, or
//! the one that `nebula-sdk` writes to the core module. `nebula build` derives the first from the
//! second, or both from the project's WIT.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use anyhow::Context;
use nebula_runtime::{FunctionDocs, documentation};
use wasm_encoder::{ComponentSection, CustomSection};
use wasmparser::{Parser, Payload};
use wit_component::{DecodedWasm, WitPrinter};
use wit_parser::{Docs, PackageId, PackageMetadata, Resolve, TypeDefKind, WorldId, WorldItem, WorldKey};

use crate::report::note;
use crate::wit_docs;

/// The types and exports of a component.
struct World {
    resolve: Resolve,
    package: PackageId,
    world: WorldId,
}

impl World {
    fn read(component: &[u8]) -> anyhow::Result<Self> {
        let own = without_nested_docs(component);
        let DecodedWasm::Component(resolve, world) =
            wit_component::decode(&own).context("cannot read the component's types")?
        else {
            anyhow::bail!("it is a WIT package, not a component");
        };
        let package = resolve.worlds[world].package.context("the component's world has no package")?;
        let mut read = Self { resolve, package, world };
        let world = &read.resolve.worlds[read.world];
        let params = match world.exports.get(&WorldKey::Name("handle".to_owned())) {
            Some(WorldItem::Function(function)) => {
                Some(function.params.iter().map(|param| param.name.as_str()).collect::<Vec<_>>())
            }
            Some(_) | None => None,
        };
        if let Some(docs) = documentation(component, params.as_deref()) {
            read.add_docs(&docs);
        }
        Ok(read)
    }

    /// Adds the documentation that the SDK stored to items without documentation.
    fn add_docs(&mut self, docs: &FunctionDocs) {
        let world = &mut self.resolve.worlds[self.world];
        let handle = match world.exports.get_mut(&WorldKey::Name("handle".to_owned())) {
            Some(WorldItem::Function(function)) => &mut function.docs,
            // A raw function is in an interface that is the same for all.
            Some(_) | None => &mut world.docs,
        };
        set(handle, docs.docs.as_ref());
        let types = world.imports.values().chain(world.exports.values());
        let types: Vec<_> = types
            .filter_map(|item| match item {
                WorldItem::Type { id, .. } => Some(*id),
                WorldItem::Interface { .. } | WorldItem::Function(_) => None,
            })
            .collect();
        for id in types {
            let ty = &mut self.resolve.types[id];
            let Some(docs) = ty.name.as_ref().and_then(|name| docs.types.get(name)) else { continue };
            set(&mut ty.docs, docs.docs.as_ref());
            let of = |name: &str| docs.parts.get(name).and_then(|part| part.docs.as_ref());
            #[expect(clippy::wildcard_enum_match_arm, reason = "the other types have no parts with names")]
            match &mut ty.kind {
                TypeDefKind::Record(record) => {
                    record.fields.iter_mut().for_each(|field| set(&mut field.docs, of(&field.name)));
                }
                TypeDefKind::Variant(variant) => {
                    variant.cases.iter_mut().for_each(|case| set(&mut case.docs, of(&case.name)));
                }
                TypeDefKind::Enum(cases) => {
                    cases.cases.iter_mut().for_each(|case| set(&mut case.docs, of(&case.name)));
                }
                _ => {}
            }
        }
    }
}

fn set(docs: &mut Docs, text: Option<&String>) {
    if docs.contents.is_none() {
        docs.contents = text.cloned();
    }
}

/// Returns the types and exports of a component in WIT, with the author's names and documentation.
/// Imports are left out: they depend on the toolchain, not on what the function does.
pub(crate) fn exports(component: &[u8]) -> anyhow::Result<String> {
    let World { resolve, package, .. } = World::read(component)?;
    let mut printer = WitPrinter::default();
    printer.print(&resolve, package, &[]).context("cannot write the component's types")?;
    // Documentation is any text; a terminal must not obey it.
    let printed = printer.output.to_string();
    let printed = printed.replace(|character: char| character.is_control() && character != '\n', "\u{fffd}");
    let inside = printed.lines().skip_while(|line| !line.starts_with("world ")).skip(1);
    let lines: Vec<&str> = inside
        .take_while(|line| *line != "}")
        .filter(|line| !line.starts_with("  import "))
        .map(|line| line.strip_prefix("  ").unwrap_or(line))
        .collect();
    Ok(lines.join("\n").trim().to_owned())
}

/// A section `package-docs`.
struct DocsSection {
    /// Whether it is in a nested component.
    is_nested: bool,
    /// The position of its name.
    name_at: usize,
}

/// Finds the sections `package-docs`, unless the component is invalid.
fn docs_sections(component: &[u8]) -> Option<Vec<DocsSection>> {
    let mut found = Vec::new();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        #[expect(clippy::wildcard_enum_match_arm, reason = "other sections don't matter")]
        match payload.ok()? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if section.name() == PackageMetadata::SECTION_NAME => {
                // The name ends where the data begins.
                let name_at = section.data_offset().checked_sub(section.name().len())?;
                found.push(DocsSection { is_nested: depth > 0, name_at });
            }
            _ => {}
        }
    }
    Some(found)
}

/// Renames the sections `package-docs` of nested components. A component that was linked from
/// several has one from each, and `wit_component` refuses more than one.
fn without_nested_docs(component: &[u8]) -> Cow<'_, [u8]> {
    let mut own = Cow::Borrowed(component);
    for section in docs_sections(component).into_iter().flatten().filter(|section| section.is_nested) {
        if let Some(first) = own.to_mut().get_mut(section.name_at) {
            *first = b'-';
        }
    }
    own
}

/// Adds the documentation in `wit`, a directory, to a component file without any, and the section
/// `package-docs` to one that has documentation in another section alone. Any other file stays
/// unchanged.
///
/// The sections are appended, so cargo's other link to the file has them too, and the next build
/// finds them there.
///
/// # Errors
/// The file can't be read or written.
pub(crate) fn add_docs(path: &Path, wit: &Path) -> anyhow::Result<()> {
    let cannot = |what: &str| format!("cannot {what} `{}`", path.display());
    let mut file = File::options().read(true).append(true).open(path).with_context(|| cannot("open"))?;
    // Two builds at once would append it twice.
    file.lock().with_context(|| cannot("lock"))?;
    let mut component = Vec::new();
    file.read_to_end(&mut component).with_context(|| cannot("read"))?;
    let built_bytes = component.len();
    if documentation(&component, None).is_none() && World::read(&component).is_ok() {
        match wit_docs::section(wit) {
            Ok(section) => component.extend(section.unwrap_or_default()),
            // The toolchain that built the component may read another version of WIT.
            Err(error) => note(format!("note: `{}` gets no documentation: {error:#}", path.display())),
        }
    }
    if let Some(section) = package_docs(&component) {
        component.extend(section);
    }
    match &component[built_bytes..] {
        [] => Ok(()),
        added => file.write_all(added).with_context(|| cannot("write")),
    }
}

/// Returns the section `package-docs` for a component that has documentation but no such section.
fn package_docs(component: &[u8]) -> Option<Vec<u8>> {
    documentation(component, None)?;
    if docs_sections(component)?.iter().any(|section| !section.is_nested) {
        return None;
    }
    let World { resolve, package, .. } = World::read(component).ok()?;
    let data = PackageMetadata::extract(&resolve, package).encode().ok()?;
    let mut section = Vec::new();
    CustomSection { name: PackageMetadata::SECTION_NAME.into(), data: data.into() }
        .append_to_component(&mut section);
    Some(section)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_and_exports_are_written_with_their_names() {
        let component = wat::parse_str(
            r#"(component
                (type $point (record (field "x" f64) (field "y" f64)))
                (import "point" (type $named (eq $point)))
                (core module $m
                    (memory (export "memory") 1)
                    (func (export "handle") (param f64 f64) (result f64) local.get 0))
                (core instance $i (instantiate $m))
                (func $handle (param "at" $named) (result f64) (canon lift (core func $i "handle")))
                (export "handle" (func $handle)))"#,
        )
        .unwrap();
        let wit = exports(&component).unwrap();
        assert_eq!(wit, "record point {\n  x: f64,\n  y: f64,\n}\n\nexport handle: func(at: point) -> f64;");
    }

    const DOCUMENTED: &str = r#"(component
        (type $point (record (field "x" f64) (field "y" f64)))
        (import "point" (type $named (eq $point)))
        (core module $m
            (memory (export "memory") 1)
            (func (export "handle") (param f64 f64) (result f64) local.get 0)
            (@custom "nebula:docs" "{\22docs\22:\22Measures.\22,\22params\22:{\22at\22:\22point\22},\22types\22:{\22point\22:{\22docs\22:\22A place.\22,\22parts\22:{\22x\22:{\22docs\22:\22East.\22}}}}}\0a"))
        (core instance $i (instantiate $m))
        (func $handle (param "at" $named) (result f64) (canon lift (core func $i "handle")))
        (export "handle" (func $handle)))"#;

    const WITH_DOCS: &str = "/// A place.\nrecord point {\n  /// East.\n  x: f64,\n  y: f64,\n}\n\n\
                             /// Measures.\nexport handle: func(at: point) -> f64;";

    /// Both sections give the same text, and the second one is added once.
    #[test]
    fn documentation_is_read_from_either_section() {
        let component = wat::parse_str(DOCUMENTED).unwrap();
        assert_eq!(exports(&component).unwrap(), WITH_DOCS);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &component).unwrap();
        add_docs(file.path(), Path::new("/nowhere")).unwrap();
        let documented = std::fs::read(file.path()).unwrap();
        assert!(documented.len() > component.len());
        add_docs(file.path(), Path::new("/nowhere")).unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), documented);
        // Without the SDK's section, as tools for WIT see it.
        let mut renamed = documented.clone();
        let at = renamed.windows(11).position(|bytes| bytes == b"nebula:docs").unwrap();
        renamed[at..at + 11].copy_from_slice(b"other :docs");
        assert_eq!(exports(&renamed).unwrap(), WITH_DOCS);
    }

    /// Each component that another one was linked from may have documentation of its own.
    #[test]
    fn nested_documentation_is_not_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), wat::parse_str(DOCUMENTED).unwrap()).unwrap();
        add_docs(file.path(), Path::new("/nowhere")).unwrap();
        let documented = std::fs::read(file.path()).unwrap();
        let mut linked = wasm_encoder::Component::new();
        for _ in 0..2 {
            linked.section(&wasm_encoder::RawSection { id: 4, data: &documented });
        }
        let linked = linked.finish();
        assert_eq!(docs_sections(&linked).unwrap().len(), 2);
        assert!(wit_component::decode(&linked).is_err());
        assert!(World::read(&linked).is_ok());
    }

    #[test]
    fn other_files_get_no_documentation() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for content in [&b"text"[..], &wat::parse_str("(component)").unwrap()] {
            std::fs::write(file.path(), content).unwrap();
            add_docs(file.path(), Path::new("/nowhere")).unwrap();
            assert_eq!(std::fs::read(file.path()).unwrap(), content);
        }
    }

    #[test]
    fn other_files_are_an_error() {
        assert!(exports(b"text").is_err());
    }
}
