#[nebula_sdk::function]
pub mod pages {
    pub struct Page<T> {
        pub items: Vec<T>,
    }

    pub fn handle(page: Page<u32>) -> u32 {
        page.items.len() as u32
    }
}

fn main() {}
