//! Answers any request with a text that its initialiser made. The function has the http form.

use std::sync::OnceLock;

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            export wizer-initialize: func();
        }
    "
});

struct Function;
export!(Function);
wasip2::http::proxy::export!(Function);

static MADE: OnceLock<String> = OnceLock::new();

impl Guest for Function {
    fn wizer_initialize() {
        MADE.set("made at init".to_owned()).unwrap();
    }
}

impl wasip2::exports::http::incoming_handler::Guest for Function {
    fn handle(_: IncomingRequest, out: ResponseOutparam) {
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().unwrap();
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().unwrap();
        stream.blocking_write_and_flush(MADE.get().unwrap().as_bytes()).unwrap();
        drop(stream);
        OutgoingBody::finish(body, None).unwrap();
    }
}
