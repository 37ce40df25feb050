#[nebula_sdk::function]
pub fn handle((a, b): (u32, u32)) -> u32 {
    a + b
}

fn main() {}
