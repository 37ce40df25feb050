//! Measures the length of a route. The other guests of this directory import it.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            record point { x: f64, y: f64 }
            record route { name: string, points: list<point> }
            variant trouble { nowhere(string), too-short }
            record length { name: string, legs: list<f64>, total: f64 }
            export handle: func(route: route) -> result<length, trouble>;
        }
    "
});

struct Function;
export!(Function);

impl Guest for Function {
    fn handle(route: Route) -> Result<Length, Trouble> {
        if route.points.is_empty() {
            return Err(Trouble::Nowhere(route.name));
        }
        if route.points.len() == 1 {
            return Err(Trouble::TooShort);
        }
        println!("measures {}", route.name);
        let legs: Vec<f64> =
            route.points.windows(2).map(|leg| (leg[0].x - leg[1].x).hypot(leg[0].y - leg[1].y)).collect();
        let total = legs.iter().sum();
        Ok(Length { name: route.name, legs, total })
    }
}
