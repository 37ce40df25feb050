//! Prints its input to standard output, and panics with it if that begins with `panic`.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            export handle: func(text: string) -> u32;
        }
    "
});

struct Function;
export!(Function);

impl Guest for Function {
    fn handle(text: String) -> u32 {
        print!("{text}");
        assert!(!text.starts_with("panic"), "{text}");
        1
    }
}
