//! IPFIX messages (RFC 7011 section 3): a header, and sets of records.

/// `Version Number` of IPFIX.
const VERSION: u16 = 10;
/// A message's header, in bytes.
const HEADER: usize = 16;
/// A set's header, in bytes.
const SET_HEADER: usize = 4;
/// A message is at most so long, in bytes: it fits into one packet of an Ethernet, whatever the transport.
const LONGEST: usize = 1400;

/// A message that is being written.
#[derive(Debug)]
pub struct Message {
    bytes: Vec<u8>,
    /// Where the open set begins, and its id.
    set: Option<(usize, u16)>,
    /// Data records, which sequence numbers count.
    records: u32,
}

/// One that is complete but for its header.
#[derive(Debug)]
pub struct Sealed {
    bytes: Vec<u8>,
    records: u32,
}

/// What messages of one transport session share.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    /// Observation domain.
    pub domain: u32,
    /// Data records before this message, modulo 2^32.
    pub sequence: u32,
}

impl Sealed {
    /// The message, exported at a Unix time in seconds. The session counts its records.
    pub fn stamp(mut self, session: &mut Session, unix_s: u32) -> Vec<u8> {
        let mut header = Vec::with_capacity(HEADER);
        header.extend(VERSION.to_be_bytes());
        header.extend((self.bytes.len() as u16).to_be_bytes());
        header.extend(unix_s.to_be_bytes());
        header.extend(session.sequence.to_be_bytes());
        header.extend(session.domain.to_be_bytes());
        self.bytes[..HEADER].copy_from_slice(&header);
        session.sequence = session.sequence.wrapping_add(self.records);
        self.bytes
    }
}

impl Message {
    fn new() -> Self {
        let mut bytes = Vec::with_capacity(LONGEST);
        bytes.resize(HEADER, 0);
        Self { bytes, set: None, records: 0 }
    }

    fn open(&mut self, id: u16) {
        if self.set.is_none_or(|(_, open)| open != id) {
            self.close();
            self.set = Some((self.bytes.len(), id));
            self.bytes.extend(id.to_be_bytes());
            self.bytes.extend([0; 2]);
        }
    }

    fn close(&mut self) {
        if let Some((start, _)) = self.set.take() {
            let length = (self.bytes.len() - start) as u16;
            self.bytes[start + 2..start + SET_HEADER].copy_from_slice(&length.to_be_bytes());
        }
    }

    fn seal(mut self) -> Sealed {
        self.close();
        Sealed { bytes: self.bytes, records: self.records }
    }
}

/// Messages, as many as the records need.
#[derive(Debug, Default)]
pub struct Messages {
    full: Vec<Sealed>,
    open: Option<Message>,
}

impl Messages {
    /// Adds a record of a set: a template's with an id below 256, else data.
    pub fn add(&mut self, set: u16, record: &[u8]) {
        if self.open.as_ref().is_some_and(|open| open.bytes.len() + SET_HEADER + record.len() > LONGEST) {
            self.full.extend(self.open.take().map(Message::seal));
        }
        let open = self.open.get_or_insert_with(Message::new);
        open.open(set);
        open.bytes.extend_from_slice(record);
        open.records += u32::from(set >= 256);
    }

    /// All of them.
    pub fn seal(mut self) -> Vec<Sealed> {
        self.full.extend(self.open.take().map(Message::seal));
        self.full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_sequence_numbers_add_up() {
        let mut messages = Messages::default();
        messages.add(2, &[0; 10]);
        for _ in 0..100 {
            messages.add(256, &[7; 50]);
        }
        let mut session = Session { domain: 3, sequence: 0xffff_ffff };
        let mut before = session.sequence;
        let mut records = 0;
        for message in messages.seal() {
            let message = message.stamp(&mut session, 99);
            let word = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
            let long = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|i| message[at + i]));
            assert_eq!((word(0), usize::from(word(2)), long(4), long(12)), (10, message.len(), 99, 3));
            assert!(message.len() <= LONGEST);
            assert_eq!(long(8), before, "records before this message");
            let mut at = HEADER;
            while at < message.len() {
                let (id, length) = (word(at), usize::from(word(at + 2)));
                if id == 256 {
                    records += (length - SET_HEADER) / 50;
                    before = before.wrapping_add(((length - SET_HEADER) / 50) as u32);
                }
                at += length;
            }
            assert_eq!(at, message.len(), "sets fill the message");
        }
        assert_eq!((records, session.sequence), (100, 99));
    }
}
