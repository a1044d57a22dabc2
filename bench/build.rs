//! Builds the programs that ntc's are measured against, for `include_bytes_aligned!`.

#[path = "../ntc-ebpf/object.rs"]
mod object;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    object::build("bench", &["bench"], "bench")
}
