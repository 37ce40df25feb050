//! `markdown`: converts CommonMark, with tables, footnotes, strikethrough and task lists, to HTML.
//!
//! The answer is safe to insert into a page: HTML in the input is escaped, and links are relative
//! or have a scheme of the web or of mail.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, html};

/// Returns `text` as HTML.
#[nebula_sdk::function]
pub fn handle(text: String) -> String {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS;
    let mut page = String::with_capacity(text.len() * 3 / 2);
    html::push_html(&mut page, Parser::new_ext(&text, options).map(harmless));
    page
}

/// Removes from an event everything that a browser could execute.
fn harmless(event: Event<'_>) -> Event<'_> {
    match event {
        Event::Html(html) | Event::InlineHtml(html) => Event::Text(html),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url: harmless_url(dest_url), title, id })
        }
        Event::Start(Tag::Image { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Image { link_type, dest_url: harmless_url(dest_url), title, id })
        }
        event => event,
    }
}

/// Returns the URL if it is relative or has a harmless scheme, and an empty one otherwise.
fn harmless_url(url: CowStr<'_>) -> CowStr<'_> {
    // Browsers ignore control characters and white space in a scheme.
    let bare: String = url.chars().filter(|c| !c.is_control() && !c.is_whitespace()).collect();
    let scheme = bare.split(['/', '?', '#']).next().and_then(|start| start.split_once(':'));
    match scheme {
        Some((scheme, _)) => {
            let known = ["http", "https", "mailto"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
            if known { url } else { "".into() }
        }
        None => url,
    }
}

#[cfg(test)]
mod tests {
    use super::handle;

    #[test]
    fn markup_becomes_html() {
        assert_eq!(handle("# Hi *there*".to_owned()), "<h1>Hi <em>there</em></h1>\n");
        assert!(handle("|a|\n|-|\n|b|".to_owned()).starts_with("<table>"));
    }

    #[test]
    fn html_is_escaped() {
        let page = handle("<script>alert(1)</script>\n\na <b>b</b>".to_owned());
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
    }

    #[test]
    fn links_with_unsafe_schemes_are_emptied() {
        for url in ["javascript:alert(1)", "JAVASCRIPT:alert(1)", "data:text/html,x", "java&#10;script:x"] {
            let page = handle(format!("[x]({url})"));
            assert!(!page.to_lowercase().contains("script:") && !page.contains("data:"), "{page}");
        }
        assert!(handle("[x](https://a.b/c?d=e:f)".to_owned()).contains("https://a.b/c?d=e:f"));
        assert!(handle("[x](./a:b)".to_owned()).contains("./a:b"));
    }
}
