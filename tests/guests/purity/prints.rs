//! Prints to both standard streams and returns a text.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            export handle: func(lines: u32) -> string;
        }
    "
});

struct Function;
export!(Function);

impl Guest for Function {
    fn handle(lines: u32) -> String {
        for line in 1..=lines {
            println!("out {line}");
            eprintln!("err {line}");
        }
        "the answer".to_owned()
    }
}
