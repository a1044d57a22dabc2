//! Builds the BPF object from `ntc-ebpf`, for `include_bytes_aligned!`.

#[path = "../ntc-ebpf/object.rs"]
mod object;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let debug = std::env::var("PROFILE")? == "debug";
    object::build("ntc", if debug { &["log"] } else { &[] }, "ntc-ebpf")
}
