use nebula_sdk::Payload;

#[nebula_sdk::raw]
pub fn handle(request: Payload) -> Result<Payload, String> {
    Ok(request)
}

fn main() {}
