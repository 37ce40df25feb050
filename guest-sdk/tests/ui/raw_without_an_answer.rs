use nebula_sdk::Payload;

#[nebula_sdk::raw]
pub fn handle(request: Payload) {
    drop(request);
}

fn main() {}
