//! Prints in its initialiser and in the call.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            export wizer-initialize: func();
            export handle: func() -> string;
        }
    "
});

struct Function;
export!(Function);

impl Guest for Function {
    fn wizer_initialize() {
        println!("out at init");
        eprintln!("err at init");
    }

    fn handle() -> String {
        println!("out now");
        eprintln!("err now");
        "the answer".to_owned()
    }
}
