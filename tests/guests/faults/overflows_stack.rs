//! Recurses until the stack overflows.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            export handle: func(n: u64) -> u64;
        }
    "
});

struct Function;
export!(Function);

impl Guest for Function {
    fn handle(n: u64) -> u64 {
        deeper(n)
    }
}

#[expect(unconditional_recursion, reason = "this guest overflows the stack")]
#[inline(never)]
fn deeper(n: u64) -> u64 {
    deeper(n + 1).wrapping_mul(31) ^ n
}
