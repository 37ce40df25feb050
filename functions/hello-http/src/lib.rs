//! `hello-http`: a component of `wasi:http/incoming-handler`, which any host of such components can
//! run.
//!
//! `GET /` and `GET /hello/{name}` return a greeting, `POST /echo` returns the body of the request.

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A text.
    Text(String),
    /// The request's own body.
    Echo,
    /// The path or the method is unknown.
    NotFound,
}

/// Returns the answer to a request by its method and path.
pub fn route(method: &str, path: &str) -> Answer {
    let path = path.split('?').next().unwrap_or(path);
    match (method, path.strip_prefix("/hello/")) {
        ("GET", None) if path == "/" => Answer::Text("Hello from Nebula\n".to_owned()),
        ("GET", Some(name)) if !name.is_empty() => Answer::Text(format!("Hello, {name}\n")),
        ("POST", None) if path == "/echo" => Answer::Echo,
        _ => Answer::NotFound,
    }
}

// The exports of wasi:http have names that only Wasm allows.
#[cfg(target_family = "wasm")]
mod component {
    use wasip2::exports::http::incoming_handler::Guest;
    use wasip2::http::types::{
        ErrorCode, Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
    };
    use wasip2::io::streams::StreamError;

    use super::{Answer, route};

    /// The bytes to read and write at once.
    const CHUNK_BYTES: u64 = 4096;

    struct Component;

    wasip2::http::proxy::export!(Component);

    impl Guest for Component {
        fn handle(request: IncomingRequest, response: ResponseOutparam) {
            let method = match request.method() {
                Method::Get | Method::Head => "GET",
                Method::Post => "POST",
                _ => "",
            };
            let path = request.path_with_query().unwrap_or_default();
            match route(method, &path) {
                Answer::Text(text) => {
                    answer(response, 200, b"text/plain", |body| write(body, text.as_bytes()))
                }
                Answer::NotFound => answer(response, 404, b"text/plain", |body| write(body, b"Not found\n")),
                Answer::Echo => {
                    let types = request.headers().get("content-type");
                    let media_type =
                        types.into_iter().next().unwrap_or_else(|| b"application/octet-stream".to_vec());
                    answer(response, 200, &media_type, |body| echo(&request, body));
                }
            }
        }
    }

    /// Begins a response and calls `fill` to write its body.
    fn answer(
        response: ResponseOutparam,
        status: u16,
        media_type: &[u8],
        fill: impl FnOnce(&OutgoingBody) -> Result<(), ErrorCode>,
    ) {
        let fields = [("content-type".to_owned(), media_type.to_vec())];
        let prepared = Fields::from_list(&fields).map_err(|_| ()).and_then(|headers| {
            let outgoing = OutgoingResponse::new(headers);
            outgoing.set_status_code(status)?;
            let body = outgoing.body()?;
            Ok((outgoing, body))
        });
        let Ok((outgoing, body)) = prepared else {
            let error = ErrorCode::InternalError(Some("cannot create the response".to_owned()));
            return ResponseOutparam::set(response, Err(error));
        };
        ResponseOutparam::set(response, Ok(outgoing));
        // An incomplete body stays unfinished, which the host detects.
        if fill(&body).is_ok() {
            let _ = OutgoingBody::finish(body, None);
        }
    }

    fn write(body: &OutgoingBody, bytes: &[u8]) -> Result<(), ErrorCode> {
        let stream = body.write().map_err(|()| broken())?;
        for chunk in bytes.chunks(CHUNK_BYTES as usize) {
            stream.blocking_write_and_flush(chunk).map_err(|_| broken())?;
        }
        Ok(())
    }

    fn echo(request: &IncomingRequest, body: &OutgoingBody) -> Result<(), ErrorCode> {
        let incoming = request.consume().map_err(|()| broken())?;
        let input = incoming.stream().map_err(|()| broken())?;
        let output = body.write().map_err(|()| broken())?;
        loop {
            match input.blocking_read(CHUNK_BYTES) {
                Ok(bytes) => output.blocking_write_and_flush(&bytes).map_err(|_| broken())?,
                Err(StreamError::Closed) => return Ok(()),
                Err(StreamError::LastOperationFailed(_)) => return Err(broken()),
            }
        }
    }

    fn broken() -> ErrorCode {
        ErrorCode::InternalError(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_routed() {
        assert_eq!(route("GET", "/?x=1"), Answer::Text("Hello from Nebula\n".to_owned()));
        assert_eq!(route("GET", "/hello/Ada"), Answer::Text("Hello, Ada\n".to_owned()));
        assert_eq!(route("POST", "/echo"), Answer::Echo);
        for (method, path) in [("GET", "/echo"), ("POST", "/"), ("GET", "/hello/"), ("", "/")] {
            assert_eq!(route(method, path), Answer::NotFound, "{method} {path}");
        }
    }
}
