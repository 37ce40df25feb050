pub mod shapes {
    pub struct Point {
        pub x: f64,
    }
}

#[nebula_sdk::function]
pub fn handle(points: Vec<crate::shapes::Point>) -> u32 {
    points.len() as u32
}

fn main() {}
