#[nebula_sdk::function]
pub fn greet(name: String) -> String {
    name
}

fn main() {}
