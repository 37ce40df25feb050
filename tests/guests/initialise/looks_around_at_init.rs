//! Reads clocks and random numbers in its initialiser and again in the call.

use std::hash::BuildHasher;
use std::sync::OnceLock;

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            record sight {
                secure: u64,
                hash: u64,
                wall-seconds: u64,
                monotonic-ns: u64,
            }
            export wizer-initialize: func();
            export handle: func(ignored: string) -> tuple<sight, sight>;
        }
    "
});

struct Function;
export!(Function);

static AT_FIRST: OnceLock<Sight> = OnceLock::new();

impl Guest for Function {
    fn wizer_initialize() {
        // Advances the clocks that the initialiser sees.
        std::thread::sleep(std::time::Duration::from_secs(60));
        AT_FIRST.set(look()).unwrap();
    }

    fn handle(_ignored: String) -> (Sight, Sight) {
        (*AT_FIRST.get().unwrap(), look())
    }
}

fn look() -> Sight {
    Sight {
        secure: wasip2::random::random::get_random_u64(),
        hash: std::hash::RandomState::new().hash_one("x"),
        wall_seconds: wasip2::clocks::wall_clock::now().seconds,
        monotonic_ns: wasip2::clocks::monotonic_clock::now(),
    }
}
