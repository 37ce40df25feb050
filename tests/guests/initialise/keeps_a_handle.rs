//! Stores a handle of the host in its initialiser.

use std::sync::OnceLock;

use wasip2::io::streams::OutputStream;

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            export wizer-initialize: func();
            export handle: func() -> u64;
        }
    "
});

struct Function;
export!(Function);

static STREAM: OnceLock<OutputStream> = OnceLock::new();

impl Guest for Function {
    fn wizer_initialize() {
        STREAM.set(wasip2::cli::stdout::get_stdout()).unwrap();
    }

    fn handle() -> u64 {
        STREAM.get().unwrap().check_write().unwrap()
    }
}
