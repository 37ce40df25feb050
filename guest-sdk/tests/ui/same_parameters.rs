#[nebula_sdk::function]
pub fn handle(a_1: u32, a1: u32) -> u32 {
    a_1 + a1
}

fn main() {}
