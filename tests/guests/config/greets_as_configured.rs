//! Takes text and returns text, with a greeting from the environment.

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
        let greeting = std::env::var("GREETING").unwrap_or_else(|_| "Hello".to_owned());
        format!("{greeting}, {name}")
    }
}
