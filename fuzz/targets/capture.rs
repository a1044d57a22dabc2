//! See `ntc_fuzz::capture`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ntc_fuzz::capture::run(input));

libfuzzer_sys::fuzz_mutator!(|input: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let size = libfuzzer_sys::fuzzer_mutate(input, size, max_size);
    // Not always: a length that lies is of interest, too.
    if seed % 4 != 0 {
        ntc_fuzz::capture::mend(&mut input[..size]);
    }
    size
});
