#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| nebula_fuzz::wit_type::run(data));
