#[nebula_sdk::function]
pub mod shapes {
    pub enum Shape {
        Circle { radius: f64 },
    }

    pub fn handle(shape: Shape) -> f64 {
        let Shape::Circle { radius } = shape;
        radius
    }
}

fn main() {}
