//! The smallest handler of wasi:http 0.3.

use wasip3::http::types::{ErrorCode, Fields, Request, Response};

struct P3;
wasip3::http::service::export!(P3);

impl wasip3::exports::http::handler::Guest for P3 {
    async fn handle(_request: Request) -> Result<Response, ErrorCode> {
        let (response, _sent) = Response::new(Fields::new(), None, wasip3::wit_future::new(|| Ok(None)).1);
        Ok(response)
    }
}
