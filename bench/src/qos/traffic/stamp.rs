//! When a datagram came, by the kernel's clock: a reader that has to wait for a processor does not make it later.

use std::{io, mem, net::UdpSocket, os::fd::AsRawFd as _};

use anyhow::{Context as _, Result, ensure};

/// Asks the kernel to tell.
///
/// # Errors
/// It refuses.
pub fn enable(socket: &UdpSocket) -> Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the value outlives the call, and its length is given.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as u32,
        )
    };
    ensure!(set == 0, "SO_TIMESTAMPNS: {}", io::Error::last_os_error());
    Ok(())
}

/// The next datagram's length and time; `None` if none came within the socket's patience.
///
/// # Errors
/// What the kernel said, or a datagram without a time.
pub fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Result<Option<(usize, u64)>> {
    let mut control = [0u64; 16];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zero is a msghdr without anything.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control);
    // SAFETY: buffers and lengths are those of `buffer` and `control`, which outlive the call.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, 0) };
    if length < 0 {
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
            _ => Err(error.into()),
        };
    }
    // SAFETY: the kernel has written the message's control data.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !header.is_null() {
        // SAFETY: not null, so it lies whole in the control data.
        let (level, kind) = unsafe { ((*header).cmsg_level, (*header).cmsg_type) };
        if (level, kind) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
            // SAFETY: this kind has a timespec as its data, wherever that is aligned to.
            let time: libc::timespec =
                unsafe { libc::CMSG_DATA(header).cast::<libc::timespec>().read_unaligned() };
            return Ok(Some((length as usize, time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)));
        }
        // SAFETY: message and header are the ones from above.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    Err(anyhow::anyhow!("no time came with it")).context("SCM_TIMESTAMPNS")
}

/// The clock of those times.
pub fn now_ns() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}
