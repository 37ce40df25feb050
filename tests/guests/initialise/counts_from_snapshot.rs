//! Counts in statics that its initialiser fills: every call counts one more than the snapshot.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            export wizer-initialize: func();
            export handle: func() -> tuple<u32, u32>;
        }
    "
});

struct Function;
export!(Function);

static INITIALISED: AtomicU32 = AtomicU32::new(0);
static WORDS: Mutex<Vec<String>> = Mutex::new(Vec::new());

impl Guest for Function {
    fn wizer_initialize() {
        INITIALISED.fetch_add(1, Ordering::Relaxed);
        WORDS.lock().unwrap().extend((0..40).map(|word| word.to_string()));
    }

    /// Returns how often the initialiser ran, and the number of words including the one this call
    /// adds.
    fn handle() -> (u32, u32) {
        let mut words = WORDS.lock().unwrap();
        words.push("its own".to_owned());
        (INITIALISED.load(Ordering::Relaxed), words.len() as u32)
    }
}
