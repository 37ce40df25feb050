#[nebula_sdk::function(name = "greet")]
pub fn handle(name: String) -> String {
    name
}

fn main() {}
