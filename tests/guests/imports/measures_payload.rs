//! A raw function that imports the typed function `measures`.

wit_bindgen::generate!({
    path: "../../wit",
    inline: "
        package test:guest;
        world guest {
            import nebula:functions/measures;
            export nebula:function/handler@0.1.0;
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
    world: "test:guest/guest",
    generate_all,
});

use exports::nebula::function::handler::{Error, Guest, Payload};
use nebula::functions::measures::{self, Point, Route, Trouble};

struct Function;
export!(Function);

impl Guest for Function {
    /// Reads two bytes per point.
    fn handle(request: Payload) -> Result<Payload, Error> {
        let points = request.body.chunks_exact(2).map(|at| Point { x: at[0].into(), y: at[1].into() });
        match measures::handle(&Route { name: request.media_type.clone(), points: points.collect() }) {
            Ok(length) => Ok(Payload {
                media_type: "text/plain".to_owned(),
                body: format!("{}: {}", length.name, length.total).into_bytes(),
            }),
            Err(Trouble::Nowhere(name)) => Err(Error::BadInput(format!("{name}: nowhere"))),
            Err(Trouble::TooShort) => Err(Error::Failed("too short".to_owned())),
        }
    }
}
