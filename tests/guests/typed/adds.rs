//! Adds two numbers and returns an error of its own for an overflow.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            export handle: func(a: s64, b: s64) -> result<s64, string>;
        }
    "
});

struct Function;
export!(Function);

impl Guest for Function {
    fn handle(a: i64, b: i64) -> Result<i64, String> {
        a.checked_add(b).ok_or_else(|| format!("{a} + {b} is out of range"))
    }
}
