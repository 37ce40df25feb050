//! Calls `exit` with a code.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            export handle: func(code: u8) -> string;
        }
    "
});

struct Function;
export!(Function);

impl Guest for Function {
    fn handle(code: u8) -> String {
        std::process::exit(i32::from(code))
    }
}
