/// Uses a word that edition 2024 reserves.
#[nebula_sdk::function]
pub fn handle(r#gen: u32) -> u32 {
    r#gen
}

fn main() {}
