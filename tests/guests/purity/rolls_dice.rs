//! Draws random numbers from every source that WASI has.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            record rolls {
                secure: list<u64>,
                insecure: list<u64>,
                seed: tuple<u64, u64>,
                hash-map: u64,
            }
            export handle: func(times: u32, ignored: string) -> rolls;
        }
    "
});

struct Function;
export!(Function);

impl Guest for Function {
    fn handle(times: u32, _ignored: String) -> Rolls {
        use std::hash::BuildHasher;

        Rolls {
            secure: (0..times).map(|_| wasip2::random::random::get_random_u64()).collect(),
            insecure: (0..times).map(|_| wasip2::random::insecure::get_insecure_random_u64()).collect(),
            seed: wasip2::random::insecure_seed::insecure_seed(),
            hash_map: std::hash::RandomState::new().hash_one("x"),
        }
    }
}
