//! Imports `compares`, which itself imports a function, and `greets` as a function of the world.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            import greets: func(name: string) -> string;
            import nebula:functions/compares;
            export handle: func(names: list<string>) -> string;
        }
        package nebula:functions {
            interface compares {
                record point { x: f64, y: f64 }
                record route { name: string, points: list<point> }
                variant trouble { nowhere(string), too-short }
                record length { name: string, legs: list<f64>, total: f64 }
                record comparison { shorter: length, by: f64 }
                handle: func(a: route, b: route) -> result<comparison, trouble>;
            }
        }
    ",
    generate_all,
});

use nebula::functions::compares::{self, Point, Route};

struct Function;
export!(Function);

impl Guest for Function {
    /// Greets the shortest of the names.
    fn handle(names: Vec<String>) -> String {
        let route = |name: &String| {
            let points = vec![Point { x: 0.0, y: 0.0 }, Point { x: name.len() as f64, y: 0.0 }];
            Route { name: name.clone(), points }
        };
        let best = names.iter().map(route).reduce(|best, route| {
            let shorter = compares::handle(&best, &route).unwrap().shorter;
            if shorter.name == best.name { best } else { route }
        });
        greets(&best.unwrap().name)
    }
}
