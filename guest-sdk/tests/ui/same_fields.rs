#[nebula_sdk::function]
mod lines {
    pub struct Line {
        pub x1: f64,
        pub x2: f64,
        pub x_1: f64,
    }

    pub fn handle(line: Line) -> f64 {
        line.x2 - line.x1
    }
}

fn main() {}
