use std::error::Error;

#[nebula_sdk::function]
pub fn handle(number: String) -> Result<u32, Box<dyn Error>> {
    Ok(number.parse()?)
}

fn main() {}
