//! Answers with 5,000 bytes of text, and as the path asks: `/coded` names a content coding,
//! `/no-transform` forbids transformations, `/image` has the media type of an image, and `/tag` has an
//! entity tag and is a 304 if the request names it. It returns the request's `accept-encoding` and
//! `if-none-match` in a header.

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Function;
wasip2::http::proxy::export!(Function);

impl wasip2::exports::http::incoming_handler::Guest for Function {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let seen = |name: &str| {
            let lines = request.headers().get(name);
            lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect::<Vec<_>>().join(", ")
        };
        let (codings, tags) = (seen("accept-encoding"), seen("if-none-match"));
        let media_type = if path == "/image" { "image/png" } else { "text/plain" };
        let mut headers =
            vec![("content-type", media_type.to_owned()), ("x-seen", format!("{codings}|{tags}"))];
        match path.as_str() {
            "/coded" => headers.push(("content-encoding", "x-own".to_owned())),
            "/no-transform" => headers.push(("cache-control", "no-transform".to_owned())),
            "/tag" => headers.push(("etag", "\"own\"".to_owned())),
            _ => {}
        }
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes()));
        let response = OutgoingResponse::new(Fields::from_list(&headers.collect::<Vec<_>>()).unwrap());
        let is_known = path == "/tag" && tags == "\"own\"";
        if is_known {
            response.set_status_code(304).unwrap();
        }
        let body = response.body().unwrap();
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().unwrap();
        if !is_known {
            for _ in 0..5 {
                stream.blocking_write_and_flush(&[b'x'; 1000]).unwrap();
            }
        }
        drop(stream);
        OutgoingBody::finish(body, None).unwrap();
    }
}
