#[nebula_sdk::function]
pub fn handle(text: String) -> usize {
    text.len()
}

fn main() {}
