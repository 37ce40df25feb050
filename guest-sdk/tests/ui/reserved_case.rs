#[nebula_sdk::function]
pub mod f {
    pub enum Source {
        Self_,
        Other(u32),
    }

    pub fn handle(s: Source) -> u32 {
        match s {
            Source::Self_ => 0,
            Source::Other(n) => n,
        }
    }
}

fn main() {}
