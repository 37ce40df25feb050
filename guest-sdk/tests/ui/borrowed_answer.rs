#[nebula_sdk::function]
pub fn handle() -> &'static str {
    "hello"
}

fn main() {}
