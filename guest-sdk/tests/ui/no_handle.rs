#[nebula_sdk::function]
pub mod greeting {
    pub fn greet(name: String) -> String {
        name
    }
}

fn main() {}
