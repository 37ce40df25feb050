#[nebula_sdk::raw]
pub fn handle(body: Vec<u8>) -> Vec<u8> {
    body
}

fn main() {}
