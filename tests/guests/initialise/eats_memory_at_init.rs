//! Allocates memory in its initialiser until an allocation fails.

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
        let mut eaten = Vec::new();
        loop {
            eaten.push(vec![1_u8; 1024 * 1024]);
            std::hint::black_box(&eaten);
        }
    }

    fn handle() -> u64 {
        0
    }
}
