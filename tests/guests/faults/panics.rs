//! Panics with a message, two named functions below `handle`.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            export handle: func(depth: u32) -> u32;
        }
    "
});

struct Function;
export!(Function);

impl Guest for Function {
    fn handle(depth: u32) -> u32 {
        outer_named_function(depth)
    }
}

#[inline(never)]
fn outer_named_function(depth: u32) -> u32 {
    inner_named_function(depth) + 1
}

#[inline(never)]
fn inner_named_function(depth: u32) -> u32 {
    assert!(depth > 1_000_000, "the depth of {depth} is not enough");
    depth
}
