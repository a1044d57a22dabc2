//! Builds the BPF object from `ntc-ebpf`, for `include_bytes_aligned!`, and packs the built-in model.

use std::{
    env,
    error::Error,
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
};

use flate2::{Compression, write::ZlibEncoder};

#[path = "../ntc-ebpf/object.rs"]
mod object;

fn main() -> Result<(), Box<dyn Error>> {
    // A digest of the debug information, which names folders, and which packages leave out: without it two builds of one
    // commit are the same.
    println!("cargo:rustc-link-arg-bins=-Wl,--build-id=none");
    if env::var_os("CARGO_FEATURE_ONNXRUNTIME").is_some() {
        build_in("residual-prior")?;
    } else {
        // The small build asks for no shared library beyond libc.
        println!("cargo:rustc-link-arg-bins=-static-libgcc");
        build_in("residual-prior-small")?;
    }
    let debug = env::var("PROFILE")? == "debug";
    object::build("ntc", if debug { &["log"] } else { &[] }, "ntc-ebpf")
}

/// Names the bundle that the binary carries, and packs its graph: most of it is tables of ports, nearly all zero.
fn build_in(name: &str) -> Result<(), Box<dyn Error>> {
    println!("cargo:rustc-env=NTC_BUILT_IN={name}");
    let graph = PathBuf::from("../models").join(name).join("model.onnx");
    println!("cargo:rerun-if-changed={}", graph.display());
    let packed = PathBuf::from(env::var("OUT_DIR")?).join("model.onnx.z");
    let mut encoder = ZlibEncoder::new(File::create(packed)?, Compression::best());
    let bytes = fs::read(graph)?;
    println!("cargo:rustc-env=NTC_BUILT_IN_BYTES={}", bytes.len());
    encoder.write_all(&bytes)?;
    encoder.finish()?;
    Ok(())
}
