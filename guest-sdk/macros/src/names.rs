//! Names: from Rust to WIT, and from WIT to the bindings.

use std::collections::HashMap;

use heck::{ToKebabCase, ToSnakeCase, ToUpperCamelCase};
use proc_macro2::{Ident, Span};
use syn::ext::IdentExt;

/// The WIT name of a Rust identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// The name in kebab-case.
    pub(crate) wit: String,
}

impl Name {
    /// Converts the name of a field or parameter.
    ///
    /// # Errors
    /// Returns an error if WIT or the bindings can't have the name, such as `_1` or `gen`.
    pub(crate) fn of_value(ident: &Ident) -> syn::Result<Self> {
        let name = Self::of(ident)?;
        // wit-bindgen doesn't know this keyword, and its output has the edition that reserves it.
        if name.wit == "gen" {
            let message = format!(
                "`{ident}` becomes `gen`, a word that Rust reserves and the bindings can't write: choose another \
                 name, such as `generation`"
            );
            return Err(syn::Error::new(ident.span(), message));
        }
        Ok(name)
    }

    /// Converts the name of a type or case.
    ///
    /// # Errors
    /// Returns an error if WIT or the bindings can't have the name, such as `_1` or `Self_`.
    pub(crate) fn of_type(ident: &Ident) -> syn::Result<Self> {
        let name = Self::of(ident)?;
        if name.wit == "self" {
            let message = format!(
                "`{ident}` becomes `self`, a word that Rust reserves and the bindings can't write: choose another \
                 name, such as `Own`"
            );
            return Err(syn::Error::new(ident.span(), message));
        }
        Ok(name)
    }

    /// Converts a Rust identifier.
    ///
    /// # Errors
    /// Returns an error if the identifier has no valid WIT name, such as `_1`.
    fn of(ident: &Ident) -> syn::Result<Self> {
        let wit = ident.unraw().to_string().to_kebab_case();
        // A later part that begins with a digit, as in `x_1`, is joined to the one before it.
        let mut joined = String::new();
        for part in wit.split('-') {
            if !joined.is_empty() && !part.starts_with(|first: char| first.is_ascii_digit()) {
                joined.push('-');
            }
            joined.push_str(part);
        }
        let valid = joined.starts_with(|first: char| first.is_ascii_lowercase())
            && joined.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if valid {
            Ok(Self { wit: joined })
        } else {
            let message = format!(
                "`{ident}` can't be a name in WIT: use ASCII letters and digits, and begin with a letter"
            );
            Err(syn::Error::new(ident.span(), message))
        }
    }

    /// Returns the name as WIT source, escaped because it may be a keyword there.
    pub(crate) fn wit_source(&self) -> String {
        format!("%{}", self.wit)
    }

    /// Returns the name of a field or parameter in the bindings.
    pub(crate) fn binding_field(&self) -> Ident {
        let snake = self.wit.to_snake_case();
        // wit-bindgen appends an underscore to a keyword.
        match syn::parse_str::<Ident>(&snake) {
            Ok(_) => Ident::new(&snake, Span::call_site()),
            Err(_) => Ident::new(&format!("{snake}_"), Span::call_site()),
        }
    }

    /// Returns the name of a type or case in the bindings.
    pub(crate) fn binding_type(&self) -> Ident {
        let camel = self.wit.to_upper_camel_case();
        // `Guest` is the trait to implement; wit-bindgen appends an underscore.
        match camel.as_str() {
            "Guest" => Ident::new("Guest_", Span::call_site()),
            camel => Ident::new(camel, Span::call_site()),
        }
    }
}

/// Checks that the names of one scope are distinct in WIT.
///
/// # Errors
/// Returns an error at the second of two equal names.
pub(crate) fn check_distinct<'a>(names: impl Iterator<Item = (&'a Ident, &'a Name)>) -> syn::Result<()> {
    let mut seen: HashMap<&str, &Ident> = HashMap::new();
    for (ident, name) in names {
        if let Some(earlier) = seen.insert(&name.wit, ident) {
            let message =
                format!("`{earlier}` and `{ident}` both become `{}` in WIT: rename one of them", name.wit);
            return Err(syn::Error::new(ident.span(), message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> syn::Result<Name> {
        Name::of(&syn::parse_str(text).unwrap())
    }

    #[test]
    fn names_become_kebab_case() {
        for (rust, wit) in [
            ("StdDev", "std-dev"),
            ("row_count", "row-count"),
            ("x_1", "x1"),
            ("HTTPServer", "http-server"),
            ("r#type", "type"),
        ] {
            assert_eq!(name(rust).unwrap().wit, wit);
        }
        assert!(name("_1").is_err());
        assert!(name("größe").is_err());
    }

    #[test]
    fn words_that_the_bindings_cannot_write_are_refused() {
        type Check = fn(&Ident) -> syn::Result<Name>;
        for (refuses, check, text) in [
            (true, Name::of_value as Check, "r#gen"),
            (true, Name::of_value, "gen_"),
            (false, Name::of_type, "Gen"),
            (true, Name::of_type, "Self_"),
            (false, Name::of_value, "self_"),
        ] {
            assert_eq!(check(&syn::parse_str(text).unwrap()).is_err(), refuses, "{text}");
        }
    }

    #[test]
    fn keywords_are_escaped_like_in_the_bindings() {
        assert_eq!(name("r#type").unwrap().binding_field(), "type_");
        assert_eq!(name("Guest").unwrap().binding_type(), "Guest_");
        assert_eq!(name("StdDev").unwrap().binding_type(), "StdDev");
    }
}
