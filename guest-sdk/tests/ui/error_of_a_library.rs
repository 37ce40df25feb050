#[nebula_sdk::function]
pub fn handle(number: String) -> Result<u32, std::num::ParseIntError> {
    number.parse()
}

fn main() {}
