//! Counts its calls in a static. A fresh instance always answers 1.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            export handle: func() -> u32;
        }
    "
});

struct Function;
export!(Function);

impl Guest for Function {
    fn handle() -> u32 {
        use std::sync::atomic::{AtomicU32, Ordering};

        static CALLS: AtomicU32 = AtomicU32::new(0);
        CALLS.fetch_add(1, Ordering::Relaxed) + 1
    }
}
