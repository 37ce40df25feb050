pub struct Point {
    pub x: f64,
}

#[nebula_sdk::function]
pub fn handle(point: Point) -> f64 {
    point.x
}

fn main() {}
