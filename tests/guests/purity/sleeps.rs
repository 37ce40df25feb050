//! Sleeps and answers the elapsed milliseconds by the clock that it sees.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            export handle: func(ms: u64) -> u64;
        }
    "
});

struct Function;
export!(Function);

impl Guest for Function {
    fn handle(ms: u64) -> u64 {
        let begun = std::time::Instant::now();
        std::thread::sleep(std::time::Duration::from_millis(ms));
        begun.elapsed().as_millis() as u64
    }
}
