//! The `Accept` header: the form of the answer that a client prefers (RFC 9110 §12.5.1), and the
//! format of metrics.
//!
//! A typed answer is sent as JSON. A `string` or `list<u8>` can also be sent raw. The header is
//! read before the function's type is looked at, so `text/plain` and `application/octet-stream`
//! both ask for the raw form.

use nebula_runtime::Prefer;

const JSON: &str = "application/json";
const RAW: [&str; 2] = ["text/plain", "application/octet-stream"];
const OPENMETRICS: &str = "application/openmetrics-text";

/// The preference for a media type, from least to most. A server may answer with a type that no
/// range matches (§12.5.1), so that is better than a refused one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wish {
    /// A range matches with `q=0`.
    Refused,
    /// No range matches.
    Unmentioned,
    /// A range matches with this quality, in thousandths.
    Wanted(u16),
}

/// The value of an `Accept` header.
#[derive(Clone, Copy)]
struct AcceptHeader<'a>(&'a str);

/// The range of an `Accept` header that decides about a media type: the most specific one.
struct RangeMatch {
    specificity: Specificity,
    wish: Wish,
}

/// The precision of a range that matches a media type, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Specificity {
    /// No range matches.
    None,
    /// `*/*`
    Any,
    /// `text/*`
    Kind,
    /// `text/plain`
    Exact,
}

/// Returns the form that the `Accept` header prefers; [`Prefer::AsSent`], the form of the input, if
/// it prefers neither.
pub(crate) fn prefer(accept: Option<&str>) -> Prefer {
    let Some(accept) = accept.map(AcceptHeader) else { return Prefer::AsSent };
    let json = accept.best_match(JSON).wish;
    let raws = RAW.map(|raw| accept.best_match(raw));
    let wanted = raws.iter().filter(|raw| raw.specificity > Specificity::Any && raw.wish > Wish::Unmentioned);
    // If ranges more specific than `*/*` want raw types, the most wanted one counts. Otherwise the
    // less wanted of the two does.
    let raw = wanted.map(|raw| raw.wish).max().unwrap_or_else(|| raws[0].wish.min(raws[1].wish));
    match json.cmp(&raw) {
        std::cmp::Ordering::Greater => Prefer::Json,
        std::cmp::Ordering::Less => Prefer::Raw,
        std::cmp::Ordering::Equal => Prefer::AsSent,
    }
}

/// Returns whether the `Accept` header names the OpenMetrics format in version 1.0.0, and wants it
/// at least as much as plain text. A range without a version is for any.
pub(crate) fn prefers_openmetrics(accept: Option<&str>) -> bool {
    let is_other_version = |range: &&str| {
        let mut versions = range.split(';').filter_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("version").then(|| value.trim().trim_matches('"'))
        });
        range.trim_start().starts_with(OPENMETRICS) && versions.any(|version| version != "1.0.0")
    };
    let ranges: Vec<_> = accept.unwrap_or_default().split(',').filter(|it| !is_other_version(it)).collect();
    let accept = ranges.join(",");
    let of = |media_type| AcceptHeader(&accept).best_match(media_type);
    let RangeMatch { specificity, wish } = of(OPENMETRICS);
    specificity == Specificity::Exact && wish > Wish::Refused && wish >= of(RAW[0]).wish
}

impl AcceptHeader<'_> {
    /// Returns the most specific range that matches `media_type`.
    fn best_match(self, media_type: &str) -> RangeMatch {
        let kind = media_type.split('/').next().unwrap_or_default();
        let mut best = RangeMatch { specificity: Specificity::None, wish: Wish::Unmentioned };
        for range in self.0.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let specificity = match name.strip_suffix("/*") {
                Some("*") => Specificity::Any,
                Some(of) if of.eq_ignore_ascii_case(kind) => Specificity::Kind,
                None if name.eq_ignore_ascii_case(media_type) => Specificity::Exact,
                Some(_) | None => continue,
            };
            // Ignore a range with a malformed quality.
            let Some(quality) = quality(parts) else { continue };
            if specificity > best.specificity {
                let wish = if quality == 0 { Wish::Refused } else { Wish::Wanted(quality) };
                best = RangeMatch { specificity, wish };
            }
        }
        best
    }
}

/// Parses the quality among the parameters of a range or a coding, in thousandths. Returns 1,000 without one, and
/// `None` if it is malformed.
pub(crate) fn quality<'a>(mut parameters: impl Iterator<Item = &'a str>) -> Option<u16> {
    let weight = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.eq_ignore_ascii_case("q").then_some(value)
    });
    let Some(weight) = weight else { return Some(1000) };
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let thousandths = format!("{fraction:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_wanted_form_is_preferred() {
        for (accept, expected) in [
            ("*/*", Prefer::AsSent),
            ("text/html", Prefer::AsSent),
            ("application/*", Prefer::AsSent),
            ("application/json, text/plain", Prefer::AsSent),
            ("application/json", Prefer::Json),
            ("Application/JSON; charset=utf-8", Prefer::Json),
            ("text/html, application/json;q=0.9", Prefer::Json),
            ("text/plain;q=0.5, application/json;q=0.501", Prefer::Json),
            ("text/plain;q=0.9, */*", Prefer::Json),
            ("text/plain;q=0, */*", Prefer::Json),
            ("application/json, */*;q=0.1", Prefer::Json),
            ("application/octet-stream", Prefer::Raw),
            ("text/plain", Prefer::Raw),
            ("text/*, application/json;q=0.5", Prefer::Raw),
            ("application/json;q=0.2, text/plain;q=0.3", Prefer::Raw),
        ] {
            assert_eq!(prefer(Some(accept)), expected, "{accept}");
        }
        assert_eq!(prefer(None), Prefer::AsSent);
    }

    /// The first two are those of Prometheus 2 and 3.
    #[test]
    fn openmetrics_is_preferred_if_it_is_named() {
        for (accept, expected) in [
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                true,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                 application/openmetrics-text;version=0.0.1;q=0.5,\
                 text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                true,
            ),
            ("application/openmetrics-text", true),
            ("application/openmetrics-text; version=\"1.0.0\"; charset=utf-8", true),
            ("text/plain, application/openmetrics-text", true),
            ("text/plain, application/openmetrics-text;q=0.9", false),
            ("text/plain;q=0.8, application/openmetrics-text;q=0.9", true),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text;version=0.0.1", false),
            ("application/openmetrics-text;version=2.0.0, text/plain;q=0.5", false),
            ("*/*", false),
            ("application/*", false),
            ("text/html", false),
            ("", false),
        ] {
            assert_eq!(prefers_openmetrics(Some(accept)), expected, "{accept}");
        }
        assert!(!prefers_openmetrics(None));
    }

    /// A quality of 0 is a refusal, regardless of the other ranges.
    #[test]
    fn refused_forms_are_not_preferred() {
        assert_eq!(prefer(Some("application/json;q=0, text/plain")), Prefer::Raw);
        assert_eq!(prefer(Some("application/json; Q=0.000")), Prefer::Raw);
        assert_eq!(prefer(Some("application/json;q=0, */*")), Prefer::Raw);
        assert_eq!(prefer(Some("text/plain;q=0, application/octet-stream;q=0")), Prefer::Json);
    }

    #[test]
    fn qualities_have_up_to_three_digits() {
        let of = |text| quality(std::iter::once(text));
        assert_eq!(
            ["q=0.5", "q=1", "q=1.000", "q=0.", "level=1"].map(of),
            [500, 1000, 1000, 0, 1000].map(Some)
        );
        for wrong in ["q=2", "q=1.1", "q=0.1234", "q=", "q=-1", "q=0.+1"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
