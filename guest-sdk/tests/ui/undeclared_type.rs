#[nebula_sdk::function]
pub mod shapes {
    pub fn handle(point: Point) -> f64 {
        point.x
    }
}

fn main() {}
