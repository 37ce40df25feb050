//! The documentation that a component carries.
//!
//! `nebula-sdk` stores it in a custom section of the core module, which compilers and
//! componentizers leave alone: one line of JSON for each function that was linked. `nebula build`
//! stores that of a project's WIT in such a section of the component itself. It describes the types,
//! which decide alone: documentation that doesn't fit has no effect.

use std::collections::BTreeSet;

use nebula_model::docs::FunctionDocs;
use wasmparser::{Parser, Payload};

/// The name of the custom section.
pub const DOCS_SECTION: &str = "nebula:docs";

/// Maximum length of the section, bytes. A longer one is ignored.
pub const DOCS_BYTES_MAX: usize = 64 * 1024;

/// Returns the documentation of a component's function.
///
/// If several functions were linked into one module, the one with these parameters is meant.
/// Without `params`, the first is returned.
pub fn documentation(component: &[u8], params: Option<&[&str]>) -> Option<FunctionDocs> {
    let section = section(component)?;
    let lines = section.split(|byte| *byte == b'\n');
    let mut found = lines.filter_map(|line| serde_json::from_slice::<FunctionDocs>(line).ok());
    found.find(|docs| {
        params.is_none_or(|params| {
            let named: BTreeSet<&str> = docs.params.keys().map(String::as_str).collect();
            named == params.iter().copied().collect()
        })
    })
}

/// Returns the section of the component itself, or of a core module that isn't in a nested component.
fn section(component: &[u8]) -> Option<&[u8]> {
    /// A binary around the current section.
    #[derive(PartialEq)]
    enum Nested {
        Module,
        Component,
    }
    let mut nesting = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        #[expect(clippy::wildcard_enum_match_arm, reason = "other sections aren't about documentation")]
        match payload.ok()? {
            Payload::ModuleSection { .. } => nesting.push(Nested::Module),
            Payload::ComponentSection { .. } => nesting.push(Nested::Component),
            Payload::End(_) => drop(nesting.pop()),
            Payload::CustomSection(section)
                if section.name() == DOCS_SECTION
                    && matches!(nesting.as_slice(), [] | [Nested::Module])
                    && section.data().len() <= DOCS_BYTES_MAX =>
            {
                return Some(section.data());
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component around a module with this section; `nested` puts both into another component.
    fn component(section: &str, nested: bool) -> Vec<u8> {
        let section = section.replace('"', "\\22").replace('\n', "\\0a");
        let module = format!(r#"(core module (@custom "nebula:docs" "{section}"))"#);
        let inner = if nested { format!("(component {module})") } else { module };
        wat::parse_str(format!("(component {inner})")).unwrap()
    }

    fn text(component: &[u8], params: &[&str]) -> Option<String> {
        documentation(component, Some(params))?.docs
    }

    #[test]
    fn the_line_with_the_parameters_is_the_functions() {
        let both = component(
            "{\"docs\":\"A.\",\"params\":{\"a\":null}}\n{\"docs\":\"B.\",\"params\":{\"b\":\"t\",\"c\":[null,\"t\"]}}\n",
            false,
        );
        assert_eq!(text(&both, &["a"]).as_deref(), Some("A."));
        assert_eq!(text(&both, &["c", "b"]).as_deref(), Some("B."));
        assert_eq!(text(&both, &["b"]), None);
        assert_eq!(documentation(&both, None).unwrap().docs.as_deref(), Some("A."));
    }

    /// A nested component is another function, and the content of a section is anything.
    #[test]
    fn other_sections_are_ignored() {
        assert_eq!(text(&component("{\"docs\":\"A.\"}\n", true), &[]), None);
        let own = r#"(component (@custom "nebula:docs" "{\22docs\22:\22A.\22}"))"#;
        assert_eq!(text(&wat::parse_str(own).unwrap(), &[]).as_deref(), Some("A."));
        let nested = wat::parse_str(format!("(component {own})")).unwrap();
        assert_eq!(text(&nested, &[]), None);
        let deep = "[".repeat(10_000);
        for damaged in ["", "\n", "text", "[]", "{\"docs\":1}", "{\"params\":{\"a\":{}}}", &deep] {
            assert_eq!(text(&component(damaged, false), &[]), None, "{damaged}");
        }
        assert_eq!(documentation(b"text", None), None);
        assert_eq!(documentation(&[], None), None);
    }
}
