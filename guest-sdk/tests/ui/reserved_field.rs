#[nebula_sdk::function]
pub mod people {
    pub struct Person {
        pub gen_: u32,
    }

    pub fn handle(person: Person) -> u32 {
        person.gen_
    }
}

fn main() {}
