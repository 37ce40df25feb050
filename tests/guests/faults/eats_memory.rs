//! Allocates memory and writes to it until an allocation fails.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            export handle: func() -> u64;
        }
    "
});

struct Function;
export!(Function);

impl Guest for Function {
    fn handle() -> u64 {
        let mut eaten = Vec::new();
        loop {
            eaten.push(vec![1_u8; 1024 * 1024]);
            std::hint::black_box(&eaten);
        }
    }
}
