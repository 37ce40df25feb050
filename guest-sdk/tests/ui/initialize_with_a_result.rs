#[nebula_sdk::initialize]
fn tables() -> Vec<u32> {
    vec![1, 2, 3]
}

fn main() {}
