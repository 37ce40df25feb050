//! `slugify`: text as a part of a URL, in lowercase ASCII words joined by hyphens.
//!
//! `Crème brûlée, à la carte!` gives `creme-brulee-a-la-carte`.

use deunicode::deunicode_char;

/// `text` as a slug; empty where nothing in it can be one.
#[nebula_sdk::function]
pub fn handle(text: String) -> String {
    let mut slug = String::with_capacity(text.len());
    for c in text.chars() {
        // Apostrophes join what they stand in: "don't" is one word.
        if matches!(c, '\'' | '\u{2019}') {
            continue;
        }
        for c in deunicode_char(c).unwrap_or(" ").chars() {
            if c.is_ascii_alphanumeric() {
                slug.push(c.to_ascii_lowercase());
            } else if !slug.is_empty() && !slug.ends_with('-') {
                slug.push('-');
            }
        }
    }
    slug.truncate(slug.trim_end_matches('-').len());
    slug
}

#[cfg(test)]
mod tests {
    use super::handle;

    #[test]
    fn words_are_joined() {
        for (text, slug) in [
            ("Hello, World!", "hello-world"),
            ("Crème brûlée, à la carte!", "creme-brulee-a-la-carte"),
            ("  don't   panic -- ever  ", "dont-panic-ever"),
            ("Straße 42", "strasse-42"),
            ("Москва", "moskva"),
            ("!?", ""),
            ("", ""),
        ] {
            assert_eq!(handle(text.to_owned()), slug);
        }
    }
}
