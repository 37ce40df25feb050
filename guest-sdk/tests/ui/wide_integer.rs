#[nebula_sdk::function]
pub fn handle(values: Vec<(String, u128)>) -> u64 {
    values.len() as u64
}

fn main() {}
