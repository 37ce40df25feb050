#[nebula_sdk::function]
pub mod shapes {
    pub struct Point {
        pub x: f64,
        #[cfg(target_family = "wasm")]
        pub y: f64,
    }

    pub fn handle(point: Point) -> f64 {
        point.x
    }
}

fn main() {}
