//! Doc comments, as lines.

use syn::{Attribute, Expr, Lit, Meta};

/// Returns the lines of the doc comments among `attributes`.
pub(crate) fn docs(attributes: &[Attribute]) -> Vec<String> {
    let texts = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(meta) if meta.path.is_ident("doc") => match &meta.value {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => Some(text.value()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    // An empty comment is an empty line: it separates paragraphs.
    texts
        .flat_map(|text| text.split('\n').map(|line| line.trim_end().to_owned()).collect::<Vec<_>>())
        .collect()
}

/// Appends doc comments to WIT source.
pub(crate) fn write_docs(wit: &mut String, docs: &[String], indent: usize) {
    for line in docs {
        wit.push_str(&"    ".repeat(indent));
        wit.push_str("///");
        wit.push_str(line);
        wit.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_comment_is_an_empty_line() {
        let function: syn::ItemFn = syn::parse_quote! {
            /// One.
            ///
            /** Two.
            Three. */
            fn handle() {}
        };
        assert_eq!(docs(&function.attrs), [" One.", "", " Two.", "            Three."]);
    }
}
