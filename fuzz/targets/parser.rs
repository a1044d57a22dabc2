//! See `ntc_fuzz::parser`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ntc_fuzz::parser::run(input));
