#[nebula_sdk::initialize]
fn tables(size: u32) {
    drop(size);
}

fn main() {}
