//! Executes `unreachable` without printing anything.

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
    fn handle() {
        core::arch::wasm32::unreachable()
    }
}
