//! Draws a random number.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            export handle: func(text: string) -> u64;
        }
    "
});

struct Function;
export!(Function);

impl Guest for Function {
    fn handle(_text: String) -> u64 {
        wasip2::random::random::get_random_u64()
    }
}
