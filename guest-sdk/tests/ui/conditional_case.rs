#[nebula_sdk::function]
pub mod shapes {
    pub enum Shape {
        Circle,
        #[cfg(target_family = "wasm")]
        Square,
    }

    pub fn handle(shape: Shape) -> u32 {
        match shape {
            Shape::Circle => 1,
            #[cfg(target_family = "wasm")]
            Shape::Square => 2,
        }
    }
}

fn main() {}
