//! Real senders and receivers.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd as _,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use ntc_tests::{net::Namespace, patience::patient};

const PATIENCE: Duration = Duration::from_secs(10);

/// Bulk TCP both ways, a short exchange, and UDP in super-packets both ways.
pub fn all(a: &Namespace, a_ip: &str, b: &Namespace, b_ip: &str) -> anyhow::Result<()> {
    for (from, from_ip, to, to_ip) in [(a, a_ip, b, b_ip), (b, b_ip, a, a_ip)] {
        upload(from, from_ip, to, to_ip, 300_000)?;
        upload(from, from_ip, to, to_ip, 5_000)?;
        datagrams(from, from_ip, to, to_ip)?;
    }
    Ok(())
}

fn address(ip: &str) -> anyhow::Result<SocketAddr> {
    Ok(SocketAddr::new(ip.parse::<IpAddr>()?, 0))
}

/// Sends so much over TCP, is answered with a third of it, and closes.
pub fn upload(
    from: &Namespace,
    from_ip: &str,
    to: &Namespace,
    to_ip: &str,
    bytes: usize,
) -> anyhow::Result<()> {
    let listener = to.enter(|| Ok(TcpListener::bind(address(to_ip)?)?))?;
    let server = listener.local_addr()?;
    let mut sender = from.enter(|| Ok(TcpStream::connect_timeout(&server, patient(PATIENCE))?))?;
    ensure!(sender.local_addr()?.ip() == from_ip.parse::<IpAddr>()?, "another way");
    let (mut receiver, _) = listener.accept()?;
    for stream in [&sender, &receiver] {
        stream.set_read_timeout(Some(patient(PATIENCE)))?;
        stream.set_write_timeout(Some(patient(PATIENCE)))?;
    }
    std::thread::scope(|scope| {
        let receiving = scope.spawn(move || -> anyhow::Result<usize> {
            let received = receiver.read_to_end(&mut Vec::new())?;
            receiver.write_all(&vec![7; received / 3])?;
            Ok(received)
        });
        sender.write_all(&vec![7; bytes])?;
        sender.shutdown(Shutdown::Write)?;
        let answer = sender.read_to_end(&mut Vec::new())?;
        let received = receiving.join().map_err(|_| anyhow::anyhow!("the receiver died"))??;
        ensure!((received, answer) == (bytes, bytes / 3), "{received} and {answer} bytes of {bytes}");
        Ok(())
    })
}

/// Datagrams sent many at once (`UDP_SEGMENT`), taking turns with short answers.
fn datagrams(from: &Namespace, from_ip: &str, to: &Namespace, to_ip: &str) -> anyhow::Result<()> {
    let open = |namespace: &Namespace, ip: &str| {
        namespace.enter(|| {
            let socket = UdpSocket::bind(address(ip)?)?;
            socket.set_read_timeout(Some(patient(PATIENCE)))?;
            Ok(socket)
        })
    };
    let (sender, receiver) = (open(from, from_ip)?, open(to, to_ip)?);
    sender.connect(receiver.local_addr()?)?;
    receiver.connect(sender.local_addr()?)?;
    let mut buffer = [0; 2048];
    // The third ends beyond the 20th packet.
    for (bytes, segment) in [(100, 1000), (3300, 1000), (12_000, 1200), (30_000, 700), (4000, 1472)] {
        divide(&sender, segment)?;
        sender.send(&vec![7; bytes]).with_context(|| format!("{bytes} bytes by {segment}"))?;
        let mut received = 0;
        while received < bytes {
            received += receiver.recv(&mut buffer)?;
        }
        receiver.send(&[7; 40])?;
        sender.recv(&mut buffer)?;
    }
    Ok(())
}

fn divide(socket: &UdpSocket, segment: libc::c_int) -> anyhow::Result<()> {
    // SAFETY: the option is an int, which lives for the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw const segment).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    ensure!(set == 0, "UDP_SEGMENT: {}", std::io::Error::last_os_error());
    Ok(())
}
