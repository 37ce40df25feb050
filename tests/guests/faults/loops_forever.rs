//! Prints a line, then loops forever.

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
        println!("round and round");
        let mut turns = 0_u32;
        loop {
            turns = std::hint::black_box(turns.wrapping_add(1));
        }
    }
}
