//! The `Cache-Control` header of a request: its directives for cached results (RFC 9111 §5.2.1).

use http::{HeaderMap, header};
use nebula_runtime::CacheDirectives;

/// Returns the directives that have an effect. A result is never stale, so the others have none.
pub(crate) fn directives(headers: &HeaderMap) -> CacheDirectives {
    let mut found = CacheDirectives::default();
    // Several lines form one list (RFC 9110 §5.3).
    let lines = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    for directive in lines.flat_map(|line| line.split(',')) {
        let name = directive.split('=').next().unwrap_or_default().trim();
        found.no_cache |= name.eq_ignore_ascii_case("no-cache");
        found.no_store |= name.eq_ignore_ascii_case("no-store");
    }
    found
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn directives_are_found_in_any_line_and_case() {
        let of = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::CACHE_CONTROL, HeaderValue::from_static(line));
            }
            let CacheDirectives { no_cache, no_store } = directives(&headers);
            (no_cache, no_store)
        };
        assert_eq!(of(&[]), (false, false));
        assert_eq!(of(&["max-age=0", "max-stale"]), (false, false));
        assert_eq!(of(&["no-cache"]), (true, false));
        assert_eq!(of(&["max-age=0, No-Store"]), (false, true));
        assert_eq!(of(&["no-store", " no-cache=\"x\" "]), (true, true));
        assert_eq!(of(&["x-no-cache, no-cached"]), (false, false));
    }
}
