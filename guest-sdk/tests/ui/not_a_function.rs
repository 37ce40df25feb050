#[nebula_sdk::function]
pub struct Handle;

fn main() {}
