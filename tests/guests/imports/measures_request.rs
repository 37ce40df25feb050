//! A function of the http form that imports the typed function `measures`.

use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            import nebula:functions/measures;
        }
        package nebula:functions {
            interface measures {
                record point { x: f64, y: f64 }
                record route { name: string, points: list<point> }
                variant trouble { nowhere(string), too-short }
                record length { name: string, legs: list<f64>, total: f64 }
                handle: func(route: route) -> result<length, trouble>;
            }
        }
    ",
    generate_all,
});

use nebula::functions::measures::{self, Point, Route};

struct Function;
wasip2::http::proxy::export!(Function);

impl wasip2::exports::http::incoming_handler::Guest for Function {
    /// Measures a route as long as the request's path.
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let name = request.path_with_query().unwrap_or_default();
        let points = vec![Point { x: 0.0, y: 0.0 }, Point { x: name.len() as f64, y: 0.0 }];
        let length = measures::handle(&Route { name, points }).unwrap();
        let response = OutgoingResponse::new(Fields::new());
        let body = response.body().unwrap();
        ResponseOutparam::set(out, Ok(response));
        let stream = body.write().unwrap();
        stream.blocking_write_and_flush(format!("{}: {}", length.name, length.total).as_bytes()).unwrap();
        drop(stream);
        OutgoingBody::finish(body, None).unwrap();
    }
}
