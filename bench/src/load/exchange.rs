//! One exchange: a serialised request and the right answer to it.

/// A serialised request and the body of the right answer.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) request: Vec<u8>,
    pub(crate) expected: Vec<u8>,
}

/// The body of a request and the body of the right answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bodies<'a> {
    pub(crate) request: &'a [u8],
    pub(crate) expected: &'a [u8],
}

impl Exchange {
    /// Makes a request `POST path` whose answer must have the same body.
    pub(crate) fn echo(path: &str, body: &[u8]) -> Self {
        Self::post(path, "application/octet-stream", Bodies { request: body, expected: body })
    }

    /// Makes a request `POST path`.
    pub(crate) fn post(path: &str, media_type: &str, bodies: Bodies<'_>) -> Self {
        let Bodies { request: body, expected } = bodies;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {media_type}\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        );
        Self { request: [head.as_bytes(), body].concat(), expected: expected.to_vec() }
    }
}
