#[nebula_sdk::function]
pub fn handle(a: u32, #[cfg(target_family = "wasm")] b: u32) -> u32 {
    a
}

fn main() {}
