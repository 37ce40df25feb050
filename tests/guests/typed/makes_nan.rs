//! Computes with NaNs that carry a payload and returns the results with their bits, which are
//! canonical.

wit_bindgen::generate!({
    inline: "
        package test:guest;
        world guest {
            export handle: func(payload: u32) -> tuple<f32, f64, u32, u64>;
        }
    "
});

struct Function;
export!(Function);

impl Guest for Function {
    fn handle(payload: u32) -> (f32, f64, u32, u64) {
        let single = f32::from_bits(0x7f80_0001 | payload) + std::hint::black_box(1.0);
        let double = f64::from_bits(0xfff0_0000_0000_0001 | u64::from(payload)) * std::hint::black_box(2.0);
        (single, double, single.to_bits(), double.to_bits())
    }
}
