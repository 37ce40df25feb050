//! Panics in its initialiser.

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
        println!("here it comes");
        a_named_function(std::hint::black_box(&[]));
    }

    fn handle() -> u64 {
        0
    }
}

#[inline(never)]
fn a_named_function(table: &[u32]) {
    assert!(!table.is_empty(), "the table has no rows");
}
