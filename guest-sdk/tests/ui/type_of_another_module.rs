pub mod shapes {
    pub struct Point {
        pub x: f64,
    }
}

#[nebula_sdk::function]
pub mod distance {
    use super::shapes::Point;

    pub fn handle(point: Point) -> f64 {
        point.x
    }
}

fn main() {}
