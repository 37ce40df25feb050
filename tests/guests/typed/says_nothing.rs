//! Takes no parameter and returns no value.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            export handle: func();
        }
    "
});

struct Function;
export!(Function);

impl Guest for Function {
    fn handle() {}
}
