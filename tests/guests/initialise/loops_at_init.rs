//! Loops forever in its initialiser.

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

impl Guest for Function {
    fn wizer_initialize() {
        println!("round and round");
        let mut turns = 0_u32;
        loop {
            turns = std::hint::black_box(turns.wrapping_add(1));
        }
    }

    fn handle() -> u64 {
        0
    }
}
