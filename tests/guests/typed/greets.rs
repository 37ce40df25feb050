//! Takes text and returns text.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            export handle: func(name: string) -> string;
        }
    "
});

struct Function;
export!(Function);

impl Guest for Function {
    fn handle(name: String) -> String {
        format!("Hello, {name}!")
    }
}
