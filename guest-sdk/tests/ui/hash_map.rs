use std::collections::HashMap;

#[nebula_sdk::function]
pub fn handle(counts: HashMap<String, u64>) -> u64 {
    counts.values().sum()
}

fn main() {}
