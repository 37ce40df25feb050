//! The documentation in the component.
//!
//! The component model keeps no doc comments of a world, so the macro stores them in a custom
//! section of the core module, which linkers and componentizers leave alone. The section has one
//! line of JSON for each function:
//!
//! ```text
//! {"docs": text, "params": {name: named}, "result": named, "types": {name: type}}
//! type:  {"docs": text, "parts": {name of a field or case: {"docs": text, "type": named}}}
//! named: the name of a type, [named, …] for the parts of a list, option, tuple or result,
//!        null if the type contains no named one
//! ```
//!
//! Names are those of WIT. Absent docs are left out. `nebula_engine::docs` reads the section.

use std::fmt::Write as _;

use proc_macro2::{Literal, TokenStream};
use quote::quote;

use crate::definition::{Definition, Shape};
use crate::signature::Signature;
use crate::types::Ty;

/// The name of the section.
const SECTION: &str = "nebula:docs";

/// Returns the static that becomes the section of a typed function.
pub(crate) fn section(
    docs: &[String],
    signature: &Signature,
    definitions: &[Definition],
) -> syn::Result<TokenStream> {
    let params = signature.params.iter().map(|param| Ok((param.name.wit.clone(), named(&param.ty)?)));
    let params: Vec<(String, String)> = params.collect::<syn::Result<_>>()?;
    let result = signature.result.as_ref().map(named).transpose()?;
    let types =
        definitions.iter().map(|definition| Ok((definition.name.wit.clone(), type_docs(definition)?)));
    let types: Vec<(String, String)> = types.collect::<syn::Result<_>>()?;
    Ok(static_section(&object([
        ("docs", text(docs)),
        ("params", Some(map(params))),
        ("result", result),
        ("types", Some(map(types))),
    ])))
}

/// Returns the static that becomes the section of a raw function.
pub(crate) fn section_of_raw(docs: &[String]) -> TokenStream {
    static_section(&object([("docs", text(docs))]))
}

fn static_section(json: &str) -> TokenStream {
    let line = format!("{json}\n");
    let length = line.len();
    let bytes = Literal::byte_string(line.as_bytes());
    quote! {
        // The linker joins the sections of all crates.
        #[used]
        #[unsafe(link_section = #SECTION)]
        static __DOCS: [::core::primitive::u8; #length] = *#bytes;
    }
}

fn type_docs(definition: &Definition) -> syn::Result<String> {
    let part = |docs: &[String], ty: Option<&Ty>| -> syn::Result<String> {
        Ok(object([("docs", text(docs)), ("type", ty.map(named).transpose()?)]))
    };
    let parts: Vec<(String, String)> = match &definition.shape {
        Shape::Record(fields) => fields
            .iter()
            .map(|field| Ok((field.name.wit.clone(), part(&field.docs, Some(&field.ty))?)))
            .collect::<syn::Result<_>>()?,
        Shape::Cases(cases) => cases
            .iter()
            .map(|case| Ok((case.name.wit.clone(), part(&case.docs, case.payload_type().as_ref())?)))
            .collect::<syn::Result<_>>()?,
    };
    Ok(object([("docs", text(&definition.docs)), ("parts", Some(map(parts)))]))
}

/// Returns the named types that a type contains, in JSON.
fn named(ty: &Ty) -> syn::Result<String> {
    let part = |ty: Option<&Ty>| ty.map_or_else(|| Ok("null".to_owned()), named);
    let parts: Vec<String> = match ty {
        Ty::Primitive(_) => return Ok("null".to_owned()),
        Ty::Named(ident) => return Ok(string(&crate::names::Name::of_type(ident)?.wit)),
        Ty::List(inner) | Ty::Option(inner) => vec![named(inner)?],
        Ty::Result(value, error) => vec![part(value.as_deref())?, part(error.as_deref())?],
        Ty::Tuple(elements) => elements.iter().map(named).collect::<syn::Result<_>>()?,
    };
    if parts.iter().all(|part| part == "null") {
        return Ok("null".to_owned());
    }
    Ok(format!("[{}]", parts.join(",")))
}

/// Returns the lines of a doc comment as one text, without the space that each begins with.
fn text(docs: &[String]) -> Option<String> {
    let lines: Vec<&str> =
        docs.iter().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect();
    let text = lines.join("\n");
    let text = text.trim_matches('\n');
    (!text.is_empty()).then(|| string(text))
}

/// Returns an object without the absent members.
fn object<const COUNT: usize>(members: [(&str, Option<String>); COUNT]) -> String {
    map(members.into_iter().filter_map(|(name, value)| {
        let value = value.filter(|value| value != "null" && value != "{}")?;
        Some((name.to_owned(), value))
    }))
}

fn map(members: impl IntoIterator<Item = (String, String)>) -> String {
    let members = members.into_iter().map(|(name, value)| format!("{}:{value}", string(&name)));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

fn string(text: &str) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            // Writing to a string can't fail.
            '\0'..='\x1f' => drop(write!(json, "\\u{:04x}", u32::from(character))),
            character => json.push(character),
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_lose_the_space_after_the_slashes() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let written = text(&lines(" One.\n\n   code\n two \"b\\c\"\t"));
        assert_eq!(written.as_deref(), Some(r#""One.\u000a\u000a  code\u000atwo \"b\\c\"""#));
        assert_eq!(text(&lines("\n")), None);
        assert_eq!(string("a\u{1}b\n"), r#""a\u0001b\u000a""#);
    }
}
