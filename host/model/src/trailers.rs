//! Trailers: the fields after the body of a request or response of the http form.
//!
//! They are kept in the extensions of the message, so that a message without trailers takes no room
//! for them.
//!
//! Invariant: attached trailers aren't empty. Whatever copies, compares, hashes or stores a message
//! has to do the same with its trailers.

use http::{Extensions, HeaderMap};

#[derive(Clone)]
struct Trailers(HeaderMap);

/// Returns the trailers of a message, if it has any.
pub fn of(extensions: &Extensions) -> Option<&HeaderMap> {
    extensions.get().map(|Trailers(fields)| fields)
}

/// Attaches trailers to a message. Does nothing for an empty map.
pub fn attach(extensions: &mut Extensions, fields: HeaderMap) {
    if !fields.is_empty() {
        extensions.insert(Trailers(fields));
    }
}

/// Detaches the trailers of a message.
pub fn detach(extensions: &mut Extensions) -> Option<HeaderMap> {
    extensions.remove().map(|Trailers(fields)| fields)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn trailers_are_copied_with_their_message() {
        let mut response = http::Response::new(());
        attach(response.extensions_mut(), HeaderMap::new());
        assert!(of(response.extensions()).is_none());
        let fields = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("\"a\""))]);
        attach(response.extensions_mut(), fields.clone());
        let (mut parts, ()) = response.clone().into_parts();
        assert_eq!(of(response.extensions()), Some(&fields));
        assert_eq!(detach(&mut parts.extensions), Some(fields));
        assert!(of(&parts.extensions).is_none());
    }
}
