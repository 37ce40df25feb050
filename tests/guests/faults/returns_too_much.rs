//! Returns as many bytes as the input says.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            export handle: func(bytes: u32) -> list<u8>;
        }
    "
});

struct Function;
export!(Function);

impl Guest for Function {
    fn handle(bytes: u32) -> Vec<u8> {
        vec![b'x'; bytes as usize]
    }
}
