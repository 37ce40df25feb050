type Answer<T> = Result<T, String>;

#[nebula_sdk::function]
pub mod halves {
    use super::Answer;

    pub fn handle(number: u32) -> Answer<u32> {
        if number % 2 == 0 { Ok(number / 2) } else { Err("odd".to_owned()) }
    }
}

fn main() {}
