#[nebula_sdk::function]
pub mod trees {
    pub struct Node {
        pub value: u32,
        pub children: Vec<Node>,
    }

    pub fn handle(root: Node) -> u32 {
        root.value
    }
}

fn main() {}
