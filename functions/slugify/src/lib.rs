//! `slugify`: converts text to a part of a URL: lowercase ASCII words joined by hyphens.
//!
//! `Crème brûlée, à la carte!` becomes `creme-brulee-a-la-carte`.

use deunicode::deunicode_char;

/// Returns `text` as a slug, which is empty if the text has no letters or digits.
#[nebula_sdk::function]
pub fn handle(text: String) -> String {
    let mut slug = String::with_capacity(text.len());
    for c in text.chars() {
        // An apostrophe doesn't separate words: "don't" is one word.
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
    fn text_becomes_words_joined_by_hyphens() {
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
