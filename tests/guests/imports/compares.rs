//! Compares the lengths of two routes, which the imported function `measures` computes.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            use nebula:functions/measures.{route, length, trouble};
            import nebula:functions/measures;
            record comparison { shorter: length, by: f64 }
            export handle: func(a: route, b: route) -> result<comparison, trouble>;
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

use nebula::functions::measures;

struct Function;
export!(Function);

impl Guest for Function {
    fn handle(a: Route, b: Route) -> Result<Comparison, Trouble> {
        let (a, b) = (measures::handle(&a)?, measures::handle(&b)?);
        let by = (a.total - b.total).abs();
        Ok(Comparison { shorter: if b.total < a.total { b } else { a }, by })
    }
}
