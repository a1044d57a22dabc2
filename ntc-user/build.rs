//! Builds the BPF object from `ntc-ebpf`, for `include_bytes_aligned!`.

#[path = "../ntc-ebpf/object.rs"]
mod object;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A digest of the debug information, which names folders, and which packages leave out: without it two builds of one
    // commit are the same.
    println!("cargo:rustc-link-arg-bins=-Wl,--build-id=none");
    if std::env::var_os("CARGO_FEATURE_ONNXRUNTIME").is_none() {
        // The small build asks for no shared library beyond libc.
        println!("cargo:rustc-link-arg-bins=-static-libgcc");
    }
    let debug = std::env::var("PROFILE")? == "debug";
    object::build("ntc", if debug { &["log"] } else { &[] }, "ntc-ebpf")
}
