//! The documentation in a project's WIT, for components whose toolchain leaves it out.
//!
//! ```text
//! wit/ --> a world that exports `handle` --> FunctionDocs --> a line of the section
//! ```
//!
//! Each world gives a line, because a component doesn't say which one it is of. A reader takes the
//! line with its function's parameters.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::Context;
use nebula_runtime::{DOCS_BYTES_MAX, DOCS_SECTION, FunctionDocs, NamedTypes, PartDocs, TypeDocs};
use wasm_encoder::{ComponentSection, CustomSection};
use wit_parser::{Docs, Resolve, Type, TypeDefKind, TypeId, World, WorldItem, WorldKey};

/// Returns the section with the documentation in a directory of WIT; `None` if it has none.
///
/// # Errors
/// The WIT can't be read, or its documentation is too long.
pub(crate) fn section(directory: &Path) -> anyhow::Result<Option<Vec<u8>>> {
    if !directory.is_dir() {
        return Ok(None);
    }
    let mut resolve = Resolve { all_features: true, ..Resolve::default() };
    let pushed = resolve.push_dir(directory);
    let (package, _) = pushed.with_context(|| format!("cannot read `{}`", directory.display()))?;
    let worlds: Vec<_> = resolve.packages[package].worlds.values().map(|id| &resolve.worlds[*id]).collect();
    let mut lines = String::new();
    for world in &worlds {
        if let Some(docs) = Reader::world(&resolve, world, worlds.len() == 1).filter(has_text) {
            lines.push_str(&serde_json::to_string(&docs)?);
            lines.push('\n');
        }
    }
    if lines.is_empty() {
        return Ok(None);
    }
    anyhow::ensure!(
        lines.len() <= DOCS_BYTES_MAX,
        "the documentation in `{}` takes {} bytes; the limit is {DOCS_BYTES_MAX}",
        directory.display(),
        lines.len()
    );
    let mut section = Vec::new();
    CustomSection { name: DOCS_SECTION.into(), data: lines.as_bytes().into() }
        .append_to_component(&mut section);
    Ok(Some(section))
}

fn has_text(docs: &FunctionDocs) -> bool {
    let of_type =
        |docs: &TypeDocs| docs.docs.is_some() || docs.parts.values().any(|part| part.docs.is_some());
    docs.docs.is_some() || docs.types.values().any(of_type)
}

/// Reads the documentation of a function.
struct Reader<'a> {
    resolve: &'a Resolve,
    types: HashMap<String, NamedType>,
}

/// A type with a name that was read.
struct NamedType {
    id: TypeId,
    docs: TypeDocs,
}

impl<'a> Reader<'a> {
    /// Returns the documentation of a world's function. That of a raw or http function, whose
    /// interface is the same for all, is the world's, if it is the `only` one.
    fn world(resolve: &'a Resolve, world: &World, only: bool) -> Option<FunctionDocs> {
        let handle = match world.exports.get(&WorldKey::Name("handle".to_owned())) {
            Some(WorldItem::Function(function)) => function,
            Some(_) | None => {
                return only.then(|| FunctionDocs { docs: text(&world.docs), ..FunctionDocs::default() });
            }
        };
        let mut reader = Self { resolve, types: HashMap::new() };
        let params = handle.params.iter().map(|param| (param.name.clone(), reader.named(&param.ty)));
        let params = params.collect();
        let result = handle.result.as_ref().map(|ty| reader.named(ty)).unwrap_or_default();
        let types = reader.types.into_iter().map(|(name, ty)| (name, ty.docs)).collect();
        Some(FunctionDocs { docs: text(&handle.docs), params, result, types })
    }

    /// Returns the named types in a type, and reads their documentation. WIT has no recursive types.
    fn named(&mut self, ty: &Type) -> NamedTypes {
        let Type::Id(id) = ty else { return NamedTypes::None };
        let resolve = self.resolve;
        let own = &resolve.types[*id];
        let Some(name) = &own.name else { return self.parts(&own.kind) };
        let (id, docs) = self.defined(*id);
        if let Some(known) = self.types.get(name) {
            // Another interface may have another type of this name, whose documentation is left out.
            if known.id != id {
                return NamedTypes::None;
            }
        } else {
            let parts = self.documented_parts(&resolve.types[id].kind);
            self.types.insert(name.clone(), NamedType { id, docs: TypeDocs { docs, parts } });
        }
        // The name of a list is no more than its elements.
        match self.parts(&resolve.types[id].kind) {
            NamedTypes::None => NamedTypes::Name(name.clone()),
            parts @ (NamedTypes::Name(_) | NamedTypes::Parts(_)) => parts,
        }
    }

    /// Follows aliases, such as those of `use`, to the type itself. The first text counts.
    fn defined(&self, mut id: TypeId) -> (TypeId, Option<String>) {
        let mut docs = text(&self.resolve.types[id].docs);
        while let TypeDefKind::Type(Type::Id(next)) = self.resolve.types[id].kind {
            id = next;
            docs = docs.or_else(|| text(&self.resolve.types[id].docs));
        }
        (id, docs)
    }

    /// Returns the named types in the parts that have no name.
    fn parts(&mut self, kind: &TypeDefKind) -> NamedTypes {
        let mut named = |ty: Option<&Type>| ty.map(|ty| self.named(ty)).unwrap_or_default();
        #[expect(clippy::wildcard_enum_match_arm, reason = "the parts of the others have names, or no docs")]
        let parts = match kind {
            TypeDefKind::List(ty) | TypeDefKind::FixedLengthList(ty, _) | TypeDefKind::Option(ty) => {
                vec![named(Some(ty))]
            }
            TypeDefKind::Tuple(tuple) => tuple.types.iter().map(|ty| named(Some(ty))).collect(),
            TypeDefKind::Result(result) => vec![named(result.ok.as_ref()), named(result.err.as_ref())],
            _ => Vec::new(),
        };
        match parts.iter().all(|part| *part == NamedTypes::None) {
            true => NamedTypes::None,
            false => NamedTypes::Parts(parts),
        }
    }

    /// Returns the documentation of fields or cases.
    fn documented_parts(&mut self, kind: &TypeDefKind) -> BTreeMap<String, PartDocs> {
        let mut part = |name: &str, docs: &Docs, ty: Option<&Type>| {
            let named = ty.map(|ty| self.named(ty)).unwrap_or_default();
            (name.to_owned(), PartDocs { docs: text(docs), named })
        };
        #[expect(clippy::wildcard_enum_match_arm, reason = "the other types have no parts with names")]
        match kind {
            TypeDefKind::Record(record) => {
                record.fields.iter().map(|field| part(&field.name, &field.docs, Some(&field.ty))).collect()
            }
            TypeDefKind::Variant(variant) => {
                variant.cases.iter().map(|case| part(&case.name, &case.docs, case.ty.as_ref())).collect()
            }
            TypeDefKind::Enum(cases) => {
                cases.cases.iter().map(|case| part(&case.name, &case.docs, None)).collect()
            }
            TypeDefKind::Flags(flags) => {
                flags.flags.iter().map(|flag| part(&flag.name, &flag.docs, None)).collect()
            }
            _ => BTreeMap::new(),
        }
    }
}

fn text(docs: &Docs) -> Option<String> {
    let text = docs.contents.as_deref().map(str::trim);
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use nebula_runtime::documentation;

    use super::*;

    /// Returns the documentation that a component with these parameters gets from the WIT.
    fn read(wit: &str, params: &[&str]) -> Option<FunctionDocs> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("world.wit"), wit).unwrap();
        let mut component = wat::parse_str("(component)").unwrap();
        component.extend(section(directory.path()).unwrap()?);
        documentation(&component, Some(params))
    }

    /// A reader ignores longer documentation, so the next build would add it once more.
    #[test]
    fn documentation_that_no_reader_takes_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let docs = format!("/// {}\n", "long ".repeat(DOCS_BYTES_MAX / 5));
        let wit = format!("package local:long;\nworld one {{\n{docs}export handle: func() -> u8;\n}}\n");
        std::fs::write(directory.path().join("world.wit"), wit).unwrap();
        let error = section(directory.path()).unwrap_err().to_string();
        assert!(error.ends_with(&format!("the limit is {DOCS_BYTES_MAX}")), "{error}");
    }

    const WIT: &str = "
        package local:shapes;

        interface plane {
            /// A place.
            record point {
                /// East.
                x: f64,
                y: f64,
            }
            /// A length.
            type meters = f64;
        }

        world one {
            use plane.{point, meters};
            /// A figure.
            variant shape {
                /// Round.
                circle(tuple<point, meters>),
                nothing,
            }
            type shapes = list<shape>;
            enum problem { empty }
            /// Measures.
            ///
            /// Twice.
            export handle: func(all: shapes, at: option<point>) -> result<meters, problem>;
        }

        /// Not the function's.
        world other {
            /// Another.
            export handle: func(n: u32);
        }
    ";

    #[test]
    fn texts_are_found_where_their_types_are() {
        let docs = read(WIT, &["all", "at"]).unwrap();
        assert_eq!(docs.docs.as_deref(), Some("Measures.\n\nTwice."));
        let name = |name: &str| NamedTypes::Name(name.to_owned());
        assert_eq!(docs.params["all"], NamedTypes::Parts(vec![name("shape")]));
        assert_eq!(docs.params["at"], NamedTypes::Parts(vec![name("point")]));
        assert_eq!(docs.result, NamedTypes::Parts(vec![name("meters"), name("problem")]));
        let text = |name: &str| docs.types[name].docs.as_deref();
        let texts = ["point", "meters", "shape", "shapes", "problem"].map(text);
        assert_eq!(texts, [Some("A place."), Some("A length."), Some("A figure."), None, None]);
        let circle = &docs.types["shape"].parts["circle"];
        assert_eq!(circle.docs.as_deref(), Some("Round."));
        assert_eq!(circle.named, NamedTypes::Parts(vec![name("point"), name("meters")]));
        assert_eq!(docs.types["point"].parts["x"].docs.as_deref(), Some("East."));
    }

    /// The parameters tell which world the component is of.
    #[test]
    fn each_world_has_a_line() {
        assert_eq!(read(WIT, &["n"]).unwrap().docs.as_deref(), Some("Another."));
        assert_eq!(read(WIT, &["m"]), None);
    }

    #[test]
    fn types_of_one_name_do_not_mix_their_texts() {
        let wit = "
            package local:two;
            interface a { /// A.
                record point { x: u8 } record left { at: point } }
            interface b { /// B.
                record point { x: u8 } record right { at: point } }
            world w { use a.{left}; use b.{right}; export handle: func(l: left, r: right); }
        ";
        let docs = read(wit, &["l", "r"]).unwrap();
        assert_eq!(docs.types["point"].docs.as_deref(), Some("A."));
        assert_eq!(docs.types["left"].parts["at"].named, NamedTypes::Name("point".to_owned()));
        assert_eq!(docs.types["right"].parts["at"].named, NamedTypes::None);
    }

    #[test]
    fn wit_without_texts_gives_no_section() {
        assert_eq!(read("package a:b; world w { export handle: func(n: u8); }", &["n"]), None);
        assert_eq!(section(Path::new("/nowhere")).unwrap(), None);
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a.wit"), "nonsense").unwrap();
        let error = format!("{:#}", section(directory.path()).unwrap_err());
        assert!(error.contains("cannot read"), "{error}");
    }

    /// The text of a world is that of a raw function.
    #[test]
    fn the_only_world_without_a_typed_function_has_its_own_text() {
        let wit = "package a:b; interface i { f: func(); } /// Turns bytes around.\n world w { export i; }";
        assert_eq!(read(wit, &[]).unwrap().docs.as_deref(), Some("Turns bytes around."));
    }
}
