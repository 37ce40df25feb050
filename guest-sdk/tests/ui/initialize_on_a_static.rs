#[nebula_sdk::initialize]
static TABLE: [u32; 3] = [1, 2, 3];

fn main() {}
