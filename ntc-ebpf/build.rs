//! The object depends on its linker: a new bpf-linker means a new object.
fn main() {
    println!("cargo:rerun-if-changed=../.tools/bin/bpf-linker");
}
