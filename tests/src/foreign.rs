//! Programs of others: two instructions, loaded and attached by system calls as any program would be.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    path::Path,
};

/// Commands, types and flags of `bpf(2)` (include/uapi/linux/bpf.h).
const BPF_PROG_LOAD: i64 = 5;
const BPF_OBJ_PIN: i64 = 6;
const BPF_LINK_CREATE: i64 = 28;
const BPF_F_BEFORE: u32 = 1 << 3;
const BPF_XDP: u32 = 37;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;

/// Which hook a program is for, and what it returns.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// XDP, passing every packet.
    Xdp,
    /// tc, saying that a packet passes, so that no program behind it is asked (`TC_ACT_OK`).
    LastWord,
    /// tc, leaving it to the next program (`TC_ACT_UNSPEC`).
    Next,
}

/// A hook of an interface.
#[derive(Clone, Copy, Debug)]
pub enum At {
    /// XDP, native.
    Xdp,
    /// tc ingress, before whatever is there.
    TcxIngress,
    /// tc egress, before whatever is there.
    TcxEgress,
}

/// A program, gone with this value unless it is attached or pinned.
#[derive(Debug)]
pub struct Foreign {
    program: OwnedFd,
}

impl Foreign {
    /// Loads one.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn load(kind: Kind) -> io::Result<Self> {
        // BPF_PROG_TYPE_XDP or _SCHED_CLS, and the verdict.
        let (program_type, verdict): (u32, i32) = match kind {
            Kind::Xdp => (6, 2),
            Kind::LastWord => (3, 0),
            Kind::Next => (3, -1),
        };
        // r0 = verdict; exit
        let instructions: [u64; 2] = [0xb7 | u64::from(verdict as u32) << 32, 0x95];
        let licence = c"MIT";
        let mut attributes = [0_u64; 16];
        attributes[0] = u64::from(program_type) | (instructions.len() as u64) << 32;
        attributes[1] = instructions.as_ptr() as u64;
        attributes[2] = licence.as_ptr() as u64;
        // SAFETY: the attributes point to instructions and a licence that live for the call.
        Ok(Self { program: unsafe { bpf(BPF_PROG_LOAD, &attributes) }? })
    }

    /// Attaches it to an interface of the calling thread's network namespace, for as long as the link lives.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn attach(&self, ifindex: u32, at: At) -> io::Result<OwnedFd> {
        let (attach_type, flags) = match at {
            At::Xdp => (BPF_XDP, 0),
            At::TcxIngress => (BPF_TCX_INGRESS, BPF_F_BEFORE),
            At::TcxEgress => (BPF_TCX_EGRESS, BPF_F_BEFORE),
        };
        let mut attributes = [0_u64; 16];
        attributes[0] = self.program.as_raw_fd() as u64 | u64::from(ifindex) << 32;
        attributes[1] = u64::from(attach_type) | u64::from(flags) << 32;
        // SAFETY: no attribute is a pointer.
        unsafe { bpf(BPF_LINK_CREATE, &attributes) }
    }

    /// Pins it, so that `tc` can be told of it.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn pin(&self, path: &Path) -> io::Result<()> {
        let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes())?;
        let mut attributes = [0_u64; 16];
        attributes[0] = path.as_ptr() as u64;
        attributes[1] = self.program.as_raw_fd() as u64;
        // SAFETY: the attributes point to a path that lives for the call.
        match unsafe {
            libc::syscall(libc::SYS_bpf, BPF_OBJ_PIN, attributes.as_ptr(), size_of_val(&attributes))
        } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// A call of `bpf(2)` that makes a descriptor.
///
/// # Safety
/// What the attributes point to lives for the call.
unsafe fn bpf(command: i64, attributes: &[u64; 16]) -> io::Result<OwnedFd> {
    // SAFETY: pointer and length are those of the attributes; for what they point to the caller speaks.
    let made = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size_of_val(attributes)) };
    if made < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(made as i32) })
}
