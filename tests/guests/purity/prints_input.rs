//! Prints its input to standard output, and panics with it if that begins with `panic`.

use std::io::Write;

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
        // Standard output is buffered up to the end of a line.
        std::io::stdout().flush().unwrap();
        assert!(!text.starts_with("panic"), "{text}");
        1
    }
}
