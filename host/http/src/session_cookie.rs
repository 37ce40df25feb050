//! The cookie of a session of the console, which a browser sends in place of a token.
//!
//! A browser sends the cookies of a host to all its ports, so the data plane gets it, too, if both
//! planes have one host. `guest_request` hides it there: a function could answer with it.

use http::{HeaderMap, HeaderValue, header};

/// The name with the sign after it.
const NAME: &str = "nebula_session=";

/// The length of a session's id. Values of other lengths aren't looked up: a page of another port can add
/// many.
pub(crate) const ID_LENGTH: usize = 64;

/// Returns the values of the cookie in a request that may be ids, usually one.
pub(crate) fn values(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';'));
    pairs.filter_map(|pair| pair.trim().strip_prefix(NAME)).filter(|value| value.len() == ID_LENGTH)
}

/// Returns the `Set-Cookie` that starts a session with this id. `secure` is set if the browser has
/// reached the console by HTTPS.
pub(crate) fn start(id: &str, secure: bool) -> Option<HeaderValue> {
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{NAME}{id}; HttpOnly; SameSite=Strict; Path=/{secure}");
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Returns the `Set-Cookie` that removes the cookie.
pub(crate) fn clear() -> HeaderValue {
    HeaderValue::from_static("nebula_session=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0")
}

/// Returns a line of `Cookie` without this cookie, or `None` if nothing else is in it.
pub(crate) fn without(line: &[u8]) -> Option<Vec<u8>> {
    if memchr::memmem::find(line, NAME.as_bytes()).is_none() {
        return Some(line.to_vec());
    }
    let pairs = line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let kept: Vec<_> = pairs.filter(|pair| !pair.starts_with(NAME.as_bytes())).collect();
    (!kept.is_empty()).then(|| kept.join(&b"; "[..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_among_other_cookies() {
        let found = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::COOKIE, HeaderValue::from_str(line).unwrap());
            }
            values(&headers).map(str::to_owned).collect::<Vec<_>>()
        };
        let (a, b) = ("a".repeat(ID_LENGTH), "b".repeat(ID_LENGTH));
        assert_eq!(found(&[&format!("nebula_session={a}")]), [&*a]);
        let lines = [&*format!("x=1; nebula_session={a};y=2"), &format!("nebula_session={b}")];
        assert_eq!(found(&lines), [&*a, &b]);
        for other in ["", "x=nebula_session=A", "Nebula_session=A", "nebula_session2=A", "nebula_session=AA"]
        {
            assert!(found(&[&other.replace('A', &a)]).is_empty(), "{other}");
        }
        // Others don't hide it.
        let many = "nebula_session=x;".repeat(100);
        assert_eq!(found(&[&format!("{many}nebula_session={a}")]), [a]);
    }

    #[test]
    fn a_line_keeps_all_other_cookies() {
        for (line, kept) in [
            ("a=1;b=2 ; c=3", Some("a=1;b=2 ; c=3")),
            ("nebula_session=x", None),
            ("nebula_session=x; a=1", Some("a=1")),
            ("a=1; nebula_session=x;nebula_session=y; b=2", Some("a=1; b=2")),
            ("a=nebula_session=x", Some("a=nebula_session=x")),
        ] {
            assert_eq!(without(line.as_bytes()).as_deref(), kept.map(str::as_bytes), "{line}");
        }
    }

    #[test]
    fn the_cookie_is_for_this_site_and_no_script() {
        let text = |secure| start("id", secure).unwrap().to_str().unwrap().to_owned();
        assert_eq!(text(false), "nebula_session=id; HttpOnly; SameSite=Strict; Path=/");
        assert_eq!(text(true), "nebula_session=id; HttpOnly; SameSite=Strict; Path=/; Secure");
        assert!(!format!("{:?}", start("id", false)).contains("id;"));
    }
}
