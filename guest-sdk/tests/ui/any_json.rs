mod serde_json {
    pub struct Value;
}

#[nebula_sdk::function]
pub fn handle(document: serde_json::Value) -> u32 {
    drop(document);
    0
}

fn main() {}
