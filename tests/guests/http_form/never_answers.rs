//! Returns without setting a response.

use wasip2::http::types::{IncomingRequest, ResponseOutparam};

struct Function;
wasip2::http::proxy::export!(Function);

impl wasip2::exports::http::incoming_handler::Guest for Function {
    fn handle(_request: IncomingRequest, _out: ResponseOutparam) {}
}
