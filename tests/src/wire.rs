//! Sending frames as they are (`AF_PACKET`), and packets without frames (tun).

use std::{
    ffi::CString,
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

/// A raw socket on one interface.
#[derive(Debug)]
pub struct RawSocket {
    socket: OwnedFd,
    address: libc::sockaddr_ll,
}

impl RawSocket {
    /// Opens one on an interface of the calling thread's network namespace.
    ///
    /// # Errors
    /// No such interface, or no privilege.
    pub fn open(interface: &str) -> io::Result<Self> {
        let name = CString::new(interface)?;
        // SAFETY: a C string that lives for the call.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: no pointer is passed.
        let socket = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new descriptor that nobody else owns.
        let socket = unsafe { OwnedFd::from_raw_fd(socket) };
        // SAFETY: an all-zero sockaddr_ll is one.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = index as i32;
        address.sll_halen = 6;
        Ok(Self { socket, address })
    }

    /// Sends a frame; waits where the queue is full.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        loop {
            // SAFETY: pointers and lengths are those of `frame` and `self.address`, which outlive the call.
            let sent = unsafe {
                libc::sendto(
                    self.socket.as_raw_fd(),
                    frame.as_ptr().cast(),
                    frame.len(),
                    0,
                    (&raw const self.address).cast(),
                    size_of::<libc::sockaddr_ll>() as u32,
                )
            };
            if sent >= 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(libc::ENOBUFS) {
                return Err(error);
            }
            std::thread::yield_now();
        }
    }
}

/// A tun device: what is written to it comes in on the interface, beginning with the IP header.
#[derive(Debug)]
pub struct Tun {
    file: std::fs::File,
}

impl Tun {
    /// Makes one in the calling thread's network namespace.
    ///
    /// # Errors
    /// No tun driver, or no privilege.
    pub fn new(name: &str) -> io::Result<Self> {
        let file = std::fs::OpenOptions::new().read(true).write(true).open("/dev/net/tun")?;
        // SAFETY: all zero is an ifreq.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
        // SAFETY: the request is an ifreq with a terminated name, and lives for the call.
        if unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw const request) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { file })
    }

    /// Lets an IP packet come in.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn receive(&mut self, packet: &[u8]) -> io::Result<()> {
        io::Write::write_all(&mut self.file, packet)
    }
}
