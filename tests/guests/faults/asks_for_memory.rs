//! Requests memory and answers whether it got it. It doesn't fail if it didn't.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            export handle: func(mib: u32) -> string;
        }
    "
});

struct Function;
export!(Function);

impl Guest for Function {
    fn handle(mib: u32) -> String {
        let mut room = Vec::<u8>::new();
        match room.try_reserve_exact(mib as usize * 1024 * 1024) {
            Ok(()) => format!("got {mib} MiB"),
            Err(_) => format!("denied {mib} MiB"),
        }
    }
}
