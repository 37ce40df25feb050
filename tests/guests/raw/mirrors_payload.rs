//! Answers with the payload of the request, or fails in the way that the payload names.

wit_bindgen::generate!({ path: "../../wit", world: "nebula:function/function" });

use exports::nebula::function::handler::{Error, Guest, Payload};

struct Function;
export!(Function);

impl Guest for Function {
    fn handle(request: Payload) -> Result<Payload, Error> {
        match request.body.as_slice() {
            b"bad" => Err(Error::BadInput("the input is `bad`".to_owned())),
            b"fail" => Err(Error::Failed("the function failed as asked".to_owned())),
            b"media" => Ok(Payload { media_type: "text/plain\r\nx-evil: 1".to_owned(), body: request.body }),
            b"long media" => {
                Ok(Payload { media_type: format!("text/{}", "x".repeat(100_000)), body: request.body })
            }
            _ => Ok(request),
        }
    }
}
