//! The server of the live flows: sends everything back.

use std::{
    collections::HashMap,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context as _, Result};
use rustix::{
    event::{Timespec, epoll},
    net::sockopt::set_socket_recv_buffer_size_force,
};

use super::kind::OPEN_PORT;
use crate::run::net::Network;

/// Where calls are answered.
pub(super) const CALL_PORT: u16 = 16_384;
/// Where requests are answered.
pub(super) const REQUEST_PORT: u16 = 5222;

/// Bytes of the calls' receive buffer: half a second of 500 calls, as the kernel counts them.
const BUFFER: usize = 16 << 20;

const CALLS: u64 = 0;
const LISTENER: u64 = 1;
const FIRST_CONNECTION: u64 = 2;

/// The sockets of the server, both address families on each.
pub(super) struct Server {
    calls: UdpSocket,
    listener: TcpListener,
    /// Where the SYN flood goes: open, but nobody takes the connections.
    _flooded: TcpListener,
}

impl Server {
    /// Opens them in the server's namespace.
    pub(super) fn open(network: &Network) -> Result<Self> {
        network.enter("server", || {
            let server = Self {
                calls: UdpSocket::bind(("::", CALL_PORT)).context("the port of the calls")?,
                listener: TcpListener::bind(("::", REQUEST_PORT)).context("the port of the requests")?,
                _flooded: TcpListener::bind(("::", OPEN_PORT)).context("the open port")?,
            };
            // What the router lost shall be counted, not what one socket for all calls has no room for.
            set_socket_recv_buffer_size_force(&server.calls, BUFFER)?;
            server.calls.set_nonblocking(true)?;
            server.listener.set_nonblocking(true)?;
            Ok(server)
        })
    }

    /// Answers until it shall stop.
    pub(super) fn run(self, stop: &AtomicBool) -> Result<()> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let readable = epoll::EventFlags::IN;
        epoll::add(&epoll, &self.calls, epoll::EventData::new_u64(CALLS), readable)?;
        epoll::add(&epoll, &self.listener, epoll::EventData::new_u64(LISTENER), readable)?;
        let mut connections: HashMap<u64, TcpStream> = HashMap::new();
        let mut next = FIRST_CONNECTION;
        let mut events = Vec::with_capacity(256);
        let wait = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        while !stop.load(Ordering::Relaxed) {
            events.clear();
            match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&wait)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for event in &events {
                match event.data.u64() {
                    CALLS => self.echo_calls(),
                    LISTENER => {
                        while let Ok((connection, _)) = self.listener.accept() {
                            connection.set_nodelay(true)?;
                            connection.set_nonblocking(true)?;
                            epoll::add(&epoll, &connection, epoll::EventData::new_u64(next), readable)?;
                            connections.insert(next, connection);
                            next += 1;
                        }
                    }
                    number => {
                        if connections.get_mut(&number).is_some_and(|connection| !echo(connection)) {
                            connections.remove(&number);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn echo_calls(&self) {
        let mut buffer = [0; 2048];
        // A datagram that cannot be sent back is one that was lost.
        while let Ok((len, from)) = self.calls.recv_from(&mut buffer) {
            let _ = self.calls.send_to(&buffer[..len], from);
        }
    }
}

/// Sends back what has come; `false` once the connection has ended.
fn echo(connection: &mut TcpStream) -> bool {
    let mut buffer = [0; 2048];
    loop {
        match connection.read(&mut buffer) {
            Ok(0) => return false,
            Ok(len) => {
                if connection.write_all(&buffer[..len]).is_err() {
                    return false;
                }
            }
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}
