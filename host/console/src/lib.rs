//! The console: a page for browsers, which the host serves on the control plane.
//!
//! ```text
//! web/ --(its own build, with Node.js)--> dist/, committed --(build.rs)--> this crate
//! ```
//!
//! Invariants:
//! * All assets are in the binary, in debug builds too. No file is read at run time.
//! * The name of every asset but the page contains a hash of its content, so it never changes.
//! * The page needs neither inline scripts and styles nor another host.

/// A file of the console.
#[derive(Debug)]
pub struct Asset {
    /// The file's name.
    pub name: &'static str,
    /// The media type, as `Content-Type` has it.
    pub media_type: &'static str,
    /// The content.
    pub content: &'static [u8],
}

/// The name of the page among the assets.
pub const PAGE: &str = "index.html";

/// All assets, by name.
pub static ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/assets.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> &'static str {
        let page = ASSETS.iter().find(|asset| asset.name == PAGE).unwrap();
        std::str::from_utf8(page.content).unwrap()
    }

    /// Returns the values of an attribute in the page.
    fn attributes(name: &str) -> Vec<&'static str> {
        let start = format!(" {name}=\"");
        page()
            .match_indices(&start)
            .map(|(at, _)| page()[at + start.len()..].split('"').next().unwrap())
            .collect()
    }

    #[test]
    fn every_asset_but_the_page_has_a_hash_in_its_name() {
        for Asset { name, content, .. } in ASSETS.iter().filter(|asset| asset.name != PAGE) {
            let stem = name.rsplit_once('.').unwrap().0;
            let hash = stem.rsplit_once('-').map_or("", |(_, hash)| hash);
            let is_hash = hash.len() >= 6 && hash.bytes().all(|byte| byte.is_ascii_alphanumeric());
            assert!(is_hash, "`{name}` may be cached for ever, and has no hash of its content");
            assert!(!content.is_empty(), "{name}");
        }
    }

    /// The policy of the page forbids these.
    #[test]
    fn the_page_has_no_inline_script_or_style_and_names_only_own_assets() {
        let page = page().to_lowercase();
        assert!(page.starts_with("<!doctype html>"));
        assert_eq!(page.matches("<script").count(), attributes("src").len(), "{page}");
        for inline in ["<style", " style=", " onload=", " onclick=", "javascript:", "<base", "<form"] {
            assert!(!page.contains(inline), "{inline}");
        }
        let named = [attributes("src"), attributes("href")].concat();
        assert!(named.len() >= 2, "{named:?}");
        for url in named {
            let name = url.strip_prefix("/console/").unwrap_or_else(|| panic!("`{url}` is no asset"));
            assert!(ASSETS.iter().any(|asset| asset.name == name), "`{url}` doesn't exist");
        }
    }
}
