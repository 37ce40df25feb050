#[nebula_sdk::function]
pub async fn handle(name: String) -> String {
    name
}

fn main() {}
