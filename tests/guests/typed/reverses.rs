//! Takes bytes and returns them reversed. An empty input is an error.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            export handle: func(bytes: list<u8>) -> result<list<u8>, string>;
        }
    "
});

struct Function;
export!(Function);

impl Guest for Function {
    fn handle(mut bytes: Vec<u8>) -> Result<Vec<u8>, String> {
        if bytes.is_empty() {
            return Err("there is nothing to reverse".to_owned());
        }
        bytes.reverse();
        Ok(bytes)
    }
}
