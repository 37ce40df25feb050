//! Answers with what the body of the request tells: the status and the media type on its first line,
//! the body of the answer after it.

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

struct Function;
wasip2::http::proxy::export!(Function);

impl wasip2::exports::http::incoming_handler::Guest for Function {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let incoming = request.consume().unwrap();
        let stream = incoming.stream().unwrap();
        let mut content = Vec::new();
        while let Ok(chunk) = stream.blocking_read(64 * 1024) {
            content.extend(chunk);
        }
        let content = String::from_utf8(content).unwrap();
        let (head, told) = content.split_once('\n').unwrap();
        let (status, media_type) = head.split_once(' ').unwrap();

        let headers = [
            ("content-type".to_owned(), media_type.as_bytes().to_vec()),
            ("location".to_owned(), b"https://elsewhere.example/".to_vec()),
        ];
        let response = OutgoingResponse::new(Fields::from_list(&headers).unwrap());
        response.set_status_code(status.parse().unwrap()).unwrap();
        let body = response.body().unwrap();
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().unwrap();
        stream.blocking_write_and_flush(told.as_bytes()).unwrap();
        drop(stream);
        OutgoingBody::finish(body, None).unwrap();
    }
}
