pub struct Request;
pub struct Failure;

#[nebula_sdk::raw]
pub fn handle(request: Request) -> Result<Request, Failure> {
    Ok(request)
}

fn main() {}
