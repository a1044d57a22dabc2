//! See `ntc_fuzz::records`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ntc_fuzz::records::run(input));
