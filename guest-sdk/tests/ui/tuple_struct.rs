#[nebula_sdk::function]
pub mod shapes {
    pub struct Point(f64, f64);

    pub fn handle(point: Point) -> f64 {
        point.0
    }
}

fn main() {}
