#[nebula_sdk::initialize]
async fn tables() {}

fn main() {}
