//! A component of `wasi:http/incoming-handler`: `POST /NAME` calls the function `NAME`. Any host of
//! such components can run it.

// The exports of wasi:http have names that only Wasm allows.
#[cfg(target_family = "wasm")]
mod component {
    use std::time::{Duration, Instant};

    use wasip2::exports::http::incoming_handler::Guest;
    use wasip2::http::types::{
        ErrorCode, Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam,
    };
    use wasip2::io::streams::StreamError;

    /// The bytes to read and write at once.
    const CHUNK_BYTES: u64 = 4096;

    struct Component;

    wasip2::http::proxy::export!(Component);

    impl Guest for Component {
        fn handle(request: IncomingRequest, response: ResponseOutparam) {
            let path = request.path_with_query().unwrap_or_default();
            let answer = read(&request).and_then(|input| call(path.trim_start_matches('/'), &input));
            match answer {
                Ok(Answer { output, run }) => respond(response, 200, run, &output),
                Err(error) => respond(response, 400, Duration::ZERO, error.as_bytes()),
            }
        }
    }

    /// The output of the function and its time.
    struct Answer {
        output: Vec<u8>,
        run: Duration,
    }

    fn call(name: &str, input: &[u8]) -> Result<Answer, String> {
        let started = Instant::now();
        let output = nebula_native::call(name, input)?;
        Ok(Answer { output, run: started.elapsed() })
    }

    fn read(request: &IncomingRequest) -> Result<Vec<u8>, String> {
        let broken = || "the request broke off".to_owned();
        let body = request.consume().map_err(|()| broken())?;
        let stream = body.stream().map_err(|()| broken())?;
        let mut input = Vec::new();
        loop {
            match stream.blocking_read(CHUNK_BYTES * 16) {
                Ok(bytes) => input.extend(bytes),
                Err(StreamError::Closed) => return Ok(input),
                Err(StreamError::LastOperationFailed(_)) => return Err(broken()),
            }
        }
    }

    /// `Server-Timing` has the time of the function, as that of the native server has.
    fn respond(response: ResponseOutparam, status: u16, run: Duration, output: &[u8]) {
        let prepared = || {
            let length = output.len().to_string().into_bytes();
            let timing = format!("run;dur={:.6}", run.as_secs_f64() * 1e3).into_bytes();
            let headers = [("content-length".to_owned(), length), ("server-timing".to_owned(), timing)];
            let headers = Fields::from_list(&headers).map_err(|_| ())?;
            let outgoing = OutgoingResponse::new(headers);
            outgoing.set_status_code(status)?;
            let body = outgoing.body()?;
            Ok((outgoing, body))
        };
        let Ok::<_, ()>((outgoing, body)) = prepared() else {
            let error = ErrorCode::InternalError(Some("cannot create the response".to_owned()));
            return ResponseOutparam::set(response, Err(error));
        };
        ResponseOutparam::set(response, Ok(outgoing));
        // An incomplete body stays unfinished, which the host detects.
        if write(&body, output).is_some() {
            let _ = OutgoingBody::finish(body, None);
        }
    }

    fn write(body: &OutgoingBody, output: &[u8]) -> Option<()> {
        let stream = body.write().ok()?;
        for chunk in output.chunks(CHUNK_BYTES as usize) {
            stream.blocking_write_and_flush(chunk).ok()?;
        }
        Some(())
    }
}
