//! Answers as the path asks: `/status/<code>` sets the status, `/headers/<bytes>` adds a header of
//! that length, `/own-tag` an entity tag, `/max-age/<seconds>` a `Cache-Control`, `/vary` a `Vary`.
//! `/omits/<code>` announces 22 bytes and writes none, `/date` sets a `Date`, `/cors` answers CORS
//! itself, `/trailers` adds trailers, `/?origin` headers by which a browser changes what it does with an
//! origin. Otherwise the body is ten bytes; a `HEAD` request gets none.

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
        if path == "/date" {
            headers.push(("date".to_owned(), b"Sat, 01 Jan 2000 00:00:00 GMT".to_vec()));
        }
        if path == "/cors" {
            headers.push(("access-control-allow-origin".to_owned(), b"https://guest.example".to_vec()));
            headers.push(("access-control-expose-headers".to_owned(), b"x-own".to_vec()));
        }
        if path == "/?origin" {
            for (name, value) in [
                ("set-cookie", "nebula_session=of-the-function; Path=/"),
                ("location", "/api/v1/cache"),
                ("www-authenticate", "Basic realm=\"nebula\""),
                ("clear-site-data", "\"*\""),
                ("access-control-allow-origin", "*"),
                ("content-disposition", "inline"),
                ("content-security-policy", "default-src *"),
                ("content-type", "text/html"),
            ] {
                headers.push((name.to_owned(), value.as_bytes().to_vec()));
            }
        }
        if number("/omits/").is_some() {
            headers.push(("content-length".to_owned(), b"22".to_vec()));
        }
        let response = OutgoingResponse::new(Fields::from_list(&headers).unwrap());
        let redirects = (path == "/?origin").then_some(307);
        if let Some(status) = number("/status/").or(number("/omits/")).or(redirects) {
            response.set_status_code(u16::try_from(status).unwrap()).unwrap();
        }
        let body = response.body().unwrap();
        let bodiless = matches!(request.method(), Method::Head) || number("/omits/").is_some();
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().unwrap();
        if !bodiless {
            stream.blocking_write_and_flush(b"ten bytes.").unwrap();
        }
        drop(stream);
        let trailers = (path == "/trailers").then(|| {
            let field = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
            Fields::from_list(&[field("x-sum", "42"), field("x-more", "a"), field("content-length", "7")])
        });
        OutgoingBody::finish(body, trailers.map(Result::unwrap)).unwrap();
    }
}
