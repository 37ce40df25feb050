//! Answers as the path asks: `/status/<code>` sets the status, `/headers/<bytes>` adds a header of
//! that length, `/own-tag` an entity tag, `/max-age/<seconds>` a `Cache-Control`, `/vary` a `Vary`.
//! The body is always ten bytes; a `HEAD` request gets none.

use wasip2::http::types::{
    Fields, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Function;
wasip2::http::proxy::export!(Function);

impl wasip2::exports::http::incoming_handler::Guest for Function {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let number = |prefix: &str| path.strip_prefix(prefix).and_then(|rest| rest.parse::<usize>().ok());
        let mut headers = vec![("x-own".to_owned(), b"kept".to_vec())];
        if let Some(bytes) = number("/headers/") {
            headers.push(("x-long".to_owned(), vec![b'x'; bytes]));
        }
        if let Some(seconds) = number("/max-age/") {
            headers.push(("cache-control".to_owned(), format!("max-age={seconds}").into_bytes()));
        }
        if path == "/vary" {
            headers.push(("vary".to_owned(), b"accept-language".to_vec()));
        }
        if path == "/own-tag" {
            headers.push(("etag".to_owned(), b"\"my,own\"".to_vec()));
        }
        let response = OutgoingResponse::new(Fields::from_list(&headers).unwrap());
        if let Some(status) = number("/status/") {
            response.set_status_code(u16::try_from(status).unwrap()).unwrap();
        }
        let body = response.body().unwrap();
        let bodiless = matches!(request.method(), Method::Head);
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().unwrap();
        if !bodiless {
            stream.blocking_write_and_flush(b"ten bytes.").unwrap();
        }
        drop(stream);
        OutgoingBody::finish(body, None).unwrap();
    }
}
