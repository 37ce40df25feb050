//! Answers with everything it sees of the request: method, path, authority, headers, trailers and
//! body.

use wasip2::http::types::{
    Fields, IncomingBody, IncomingRequest, Method, OutgoingBody, OutgoingResponse, ResponseOutparam,
};

struct Function;
wasip2::http::proxy::export!(Function);

impl wasip2::exports::http::incoming_handler::Guest for Function {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let path = request.path_with_query().unwrap_or_default();
        let mut lines = vec![
            format!("method {}", name(&request.method())),
            format!("path {path}"),
            format!("authority {}", request.authority().unwrap_or_default()),
        ];
        for (name, value) in request.headers().entries() {
            lines.push(format!("header {name}: {}", String::from_utf8_lossy(&value)));
        }
        let body = request.consume().unwrap();
        let stream = body.stream().unwrap();
        let mut content = Vec::new();
        while let Ok(chunk) = stream.blocking_read(64 * 1024) {
            content.extend(chunk);
        }
        drop(stream);
        let trailers = IncomingBody::finish(body);
        trailers.subscribe().block();
        if let Some(trailers) = trailers.get().unwrap().unwrap().unwrap() {
            for (name, value) in trailers.entries() {
                lines.push(format!("trailer {name}: {}", String::from_utf8_lossy(&value)));
            }
        }
        lines.push(format!("body {}", String::from_utf8_lossy(&content)));

        let headers = Fields::from_list(&[
            ("content-type".to_owned(), b"text/x-mirror".to_vec()),
            ("x-own".to_owned(), b"kept".to_vec()),
        ]);
        let response = OutgoingResponse::new(headers.unwrap());
        response.set_status_code(if path.starts_with("/teapot") { 418 } else { 200 }).unwrap();
        let body = response.body().unwrap();
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().unwrap();
        // The host's buffer may be shorter than the body.
        for chunk in lines.join("\n").as_bytes().chunks(4096) {
            stream.blocking_write_and_flush(chunk).unwrap();
        }
        drop(stream);
        OutgoingBody::finish(body, None).unwrap();
    }
}

fn name(method: &Method) -> String {
    match method {
        Method::Get => "GET".to_owned(),
        Method::Head => "HEAD".to_owned(),
        Method::Post => "POST".to_owned(),
        Method::Put => "PUT".to_owned(),
        Method::Delete => "DELETE".to_owned(),
        Method::Options => "OPTIONS".to_owned(),
        Method::Patch => "PATCH".to_owned(),
        Method::Connect => "CONNECT".to_owned(),
        Method::Trace => "TRACE".to_owned(),
        Method::Other(other) => other.clone(),
    }
}
