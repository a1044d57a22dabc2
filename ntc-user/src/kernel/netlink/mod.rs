//! rtnetlink: which interfaces there are, when that changes, which filters hang on a clsact qdisc, and
//! which qdisc is at the root.
//!
//! Only the attributes that ntc needs are taken out of a message. A decoder of all of them refuses a message for one
//! that it does not know, and an interface would go unseen on a kernel newer than the decoder.

pub mod filters;
pub mod links;
pub mod qdiscs;

use std::io;

use netlink_packet_core::{NetlinkBuffer, NlasIterator};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// Length of `struct nlmsghdr`.
const HEADER: usize = size_of::<libc::nlmsghdr>();
/// Length of `struct nlattr`.
const ATTRIBUTE_HEADER: usize = size_of::<libc::nlattr>();
/// A dump that changed under way is asked for again so often.
const DUMP_TRIES: usize = 5;

/// The routing socket of this process's network namespace.
fn socket() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

/// Asks for a list and returns the payloads of the answers.
fn dump(kind: u16, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    let socket = socket()?;
    let mut answers = Vec::new();
    for _ in 0..DUMP_TRIES {
        if request(&socket, kind, libc::NLM_F_DUMP as u16, body, &mut answers)? {
            break;
        }
        // Something came or went between two parts of the list.
        answers.clear();
    }
    Ok(answers)
}

/// Asks for a change.
fn change(kind: u16, body: &[u8]) -> io::Result<()> {
    change_with(kind, 0, body)
}

/// Asks for a change, with flags of its kind.
fn change_with(kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
    request(&socket()?, kind, libc::NLM_F_ACK as u16 | flags, body, &mut Vec::new()).map(drop)
}

/// Sends a request and reads up to its end; `false` if the answers do not fit together.
fn request(
    socket: &Socket,
    kind: u16,
    flags: u16,
    body: &[u8],
    answers: &mut Vec<Vec<u8>>,
) -> io::Result<bool> {
    let mut message = vec![0; HEADER];
    message.extend_from_slice(body);
    let mut header = NetlinkBuffer::new(&mut message);
    header.set_length((HEADER + body.len()) as u32);
    header.set_message_type(kind);
    header.set_flags(libc::NLM_F_REQUEST as u16 | flags);
    header.set_sequence_number(1);
    socket.send(&message, 0)?;
    let mut whole = true;
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let answer = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?;
            whole &= answer.flags() & libc::NLM_F_DUMP_INTR as u16 == 0;
            match i32::from(answer.message_type()) {
                libc::NLMSG_DONE => return Ok(whole),
                libc::NLMSG_ERROR => return status(answer.payload()).map(|()| whole),
                _ => answers.push(answer.payload().to_vec()),
            }
            // Messages begin at multiples of four.
            let length = (answer.length() as usize).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

/// The number that an error or acknowledgement begins with.
fn status(payload: &[u8]) -> io::Result<()> {
    match word(payload).unwrap_or(0) as i32 {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(-error)),
    }
}

/// Attributes by number; the nesting flag is not part of it.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    // What is no attribute ends the list.
    NlasIterator::new(bytes).map_while(Result::ok).filter_map(|attribute| {
        let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
        Some((kind, attribute.into_inner().get(ATTRIBUTE_HEADER..length)?))
    })
}

fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

fn word(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// A string as the kernel ends it.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
