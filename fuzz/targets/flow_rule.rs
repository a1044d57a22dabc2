//! See `ntc_fuzz::flow_rule`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ntc_fuzz::flow_rule::run(input));
