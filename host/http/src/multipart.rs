//! `multipart/form-data` (RFC 7578): the forms with files of browsers and of `curl -F`.
//!
//! The whole body is in memory, within its function's input limit. Its parts are slices of one copy
//! of it.

use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures_util::stream;
use multer::Multipart;

/// The most parts of a form.
const PARTS_MAX: usize = 100;

/// The media type of a part that has none (RFC 7578 §4.4).
pub(crate) const PART_MEDIA_TYPE: &str = "text/plain";

/// A field or a file of a form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) media_type: Option<String>,
    pub(crate) content: Bytes,
}

/// Splits a body into its parts. `content_type` is that of the body.
///
/// # Errors
/// A sentence for people.
pub(crate) fn parts(content_type: &str, body: Bytes) -> Result<Vec<Part>, String> {
    let boundary = multer::parse_boundary(content_type).map_err(|error| error.to_string())?;
    let whole = stream::iter([Ok::<_, Infallible>(body)]);
    let mut form = Multipart::new(whole, boundary);
    let reading = pin!(async {
        let mut parts = Vec::new();
        while let Some(field) = form.next_field().await? {
            if parts.len() == PARTS_MAX {
                return Ok::<_, multer::Error>(None);
            }
            // RFC 7578 §4.2 requires a name. No parameter has the empty one.
            let name = field.name().unwrap_or_default().to_owned();
            let media_type = field.content_type().map(ToString::to_string);
            parts.push(Part { name, media_type, content: field.bytes().await? });
        }
        Ok(Some(parts))
    });
    match reading.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(Some(parts))) => Ok(parts),
        Poll::Ready(Ok(None)) => Err(format!("over the limit of {PARTS_MAX} parts")),
        Poll::Ready(Err(error)) => Err(error.to_string()),
        // The whole body is there, so the parser waits only for an end that doesn't come.
        Poll::Pending => Err("it breaks off".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TYPE: &str = "multipart/form-data; boundary=x-y";

    fn read(body: &str) -> Result<Vec<Part>, String> {
        parts(TYPE, Bytes::copy_from_slice(body.as_bytes()))
    }

    fn part(name: &str, media_type: Option<&str>, content: &[u8]) -> Part {
        let content = Bytes::copy_from_slice(content);
        Part { name: name.to_owned(), media_type: media_type.map(str::to_owned), content }
    }

    /// Writes parts as browsers do.
    fn write(parts: &[Part]) -> Bytes {
        let mut body = Vec::new();
        for Part { name, media_type, content } in parts {
            body.extend_from_slice(b"--x-y\r\nContent-Disposition: form-data; name=\"");
            body.extend_from_slice(name.as_bytes());
            body.extend_from_slice(b"\"\r\n");
            if let Some(media_type) = media_type {
                body.extend_from_slice(format!("Content-Type: {media_type}\r\n").as_bytes());
            }
            body.extend_from_slice(&[b"\r\n", &content[..], b"\r\n"].concat());
        }
        body.extend_from_slice(b"--x-y--\r\n");
        body.into()
    }

    proptest! {
        #[test]
        fn parts_of_browsers_are_read(
            given in proptest::collection::vec(("[a-z-]{1,9}", any::<bool>(), any::<Vec<u8>>()), 0..5),
        ) {
            let media_type = |is_file: bool| is_file.then_some("application/octet-stream");
            let given: Vec<_> =
                given.iter().map(|(name, is_file, content)| part(name, media_type(*is_file), content)).collect();
            prop_assert_eq!(parts(TYPE, write(&given)).unwrap(), given);
        }

        /// Anything else is an error or other parts, and never a panic.
        #[test]
        fn damaged_forms_are_errors(at: prop::sample::Index, byte: u8, end: prop::sample::Index) {
            let mut body = write(&[part("a", None, b"1"), part("b", Some("text/csv"), b"2\r\n--x")]).to_vec();
            let index = at.index(body.len());
            body[index] = byte;
            let _ = parts(TYPE, body.clone().into());
            body.truncate(end.index(body.len()));
            let _ = parts(TYPE, body.into());
        }
    }

    #[test]
    fn malformed_forms_are_errors() {
        for body in [
            "",
            "a=1",
            "--other--",
            "--x-y",
            "--x-y\r\n",
            "--x-y\r\n\r\n",
            "--x-y\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1",
            "--x-y\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--x-y",
            "--x-y\r\nno header\r\n\r\n1\r\n--x-y--",
        ] {
            assert!(read(body).is_err(), "{body:?}: {:?}", read(body));
        }
        assert!(parts("multipart/form-data", Bytes::from_static(b"--x-y--\r\n")).is_err());
        assert_eq!(read("--x-y--\r\n").unwrap(), []);
    }

    #[test]
    fn parts_are_bounded() {
        let several = |count| write(&(0..count).map(|_| part("a", None, b"")).collect::<Vec<_>>());
        assert_eq!(parts(TYPE, several(PARTS_MAX)).unwrap().len(), PARTS_MAX);
        assert!(parts(TYPE, several(PARTS_MAX + 1)).unwrap_err().contains("limit"));
    }
}
