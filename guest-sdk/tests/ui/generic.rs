#[nebula_sdk::function]
pub fn handle<T: ToString>(value: T) -> String {
    value.to_string()
}

fn main() {}
