//! See `ntc_fuzz::query`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ntc_fuzz::query::run(input));
