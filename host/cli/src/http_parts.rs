//! The parts of a request that only functions of the http form see: method, path and headers.

use std::str::FromStr;

use http::{HeaderName, HeaderValue, Method};

/// The parts of a request for a function of the http form.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct HttpParts {
    /// The request's method, for an http function; by default POST
    #[arg(short = 'X', long)]
    pub(crate) method: Option<Method>,
    /// Path and query behind the function's name, for an http function: `/orders?page=2`
    #[arg(long, value_parser = path)]
    pub(crate) path: Option<String>,
    /// A header of the request, for an http function; can be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<Header>,
}

/// A header.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) name: HeaderName,
    pub(crate) value: HeaderValue,
}

impl HttpParts {
    /// Returns whether no part was given.
    pub(crate) fn is_empty(&self) -> bool {
        let Self { method, path, headers } = self;
        method.is_none() && path.is_none() && headers.is_empty()
    }

    /// Returns the request's method.
    pub(crate) fn method(&self) -> Method {
        self.method.clone().unwrap_or(Method::POST)
    }

    /// Returns the path and query behind the function's name; empty without one.
    pub(crate) fn path(&self) -> &str {
        self.path.as_deref().unwrap_or("")
    }

    /// Returns whether a header with this name was given.
    pub(crate) fn has(&self, name: &HeaderName) -> bool {
        self.headers.iter().any(|header| header.name == name)
    }
}

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "a header is `NAME: VALUE`".to_owned();
        let (name, value) = text.split_once(':').ok_or_else(wrong)?;
        let name = name.parse().map_err(|_| wrong())?;
        let value = HeaderValue::from_str(value.trim()).map_err(|_| wrong())?;
        Ok(Self { name, value })
    }
}

/// Parses a path with an optional query, or a query alone.
fn path(text: &str) -> Result<String, String> {
    let starts = text.starts_with('/') || text.starts_with('?');
    let is_target = starts && !text.contains('#') && text.parse::<http::uri::PathAndQuery>().is_ok();
    is_target.then(|| text.to_owned()).ok_or_else(|| "a path begins with `/` or `?`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_a_name_and_a_value() {
        let header: Header = "Accept:  text/plain ".parse().unwrap();
        assert_eq!((header.name.as_str(), header.value.as_bytes()), ("accept", &b"text/plain"[..]));
        for wrong in ["", "accept", ": x", "a b: c", "a: b\nc: d"] {
            assert!(wrong.parse::<Header>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn paths_begin_with_a_slash_or_a_query() {
        for right in ["/", "/a/b", "/a?b=c", "?b=c"] {
            assert_eq!(path(right).as_deref(), Ok(right));
        }
        for wrong in ["", "a", "http://a/", "/a b", "/a#b"] {
            assert!(path(wrong).is_err(), "{wrong}");
        }
    }
}
