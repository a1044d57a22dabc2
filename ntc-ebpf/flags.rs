//! Flags of rustc for all that is compiled for BPF: the objects of build scripts, those of xtask, and clippy.

/// `v3` has the atomic instructions (Linux 5.12). Frames and map values are read at any address: the kernels of x86-64 and
/// arm64 allow it (`HAVE_EFFICIENT_UNALIGNED_ACCESS`), and without it the linker's LLVM takes each word of a key apart
/// into bytes. `arch` is the architecture of the kernel that it is for.
pub fn flags(arch: &str) -> Vec<String> {
    let common = [
        "-Cdebuginfo=2",
        "-Ctarget-cpu=v3",
        "-Clink-arg=--btf",
        "-Clink-arg=--cpu-features=+allows-misaligned-mem-access",
    ];
    let arch = format!("--cfg=bpf_target_arch=\"{arch}\"");
    common.into_iter().map(String::from).chain([arch]).collect()
}
