//! Whole files: packed, piped, cut off, and damaged at random.

use std::{
    collections::VecDeque,
    fs,
    io::{self, Cursor, Read},
    path::Path,
};

use proptest::{collection::vec, prelude::*};

use super::{
    order::Order,
    testing::{Packet, Writer, drain, gzip, read_all, small_pcap, small_pcapng, zstd},
    *,
};

const ORDERS: [Order; 2] = [Order::Little, Order::Big];

/// Gives one result at a time, as a pipe does.
struct Pieces(VecDeque<io::Result<Vec<u8>>>);

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(piece) = self.0.pop_front() else { return Ok(0) };
        let mut piece = piece?;
        let rest = piece.split_off(piece.len().min(into.len()));
        into[..piece.len()].copy_from_slice(&piece);
        if !rest.is_empty() {
            self.0.push_front(Ok(rest));
        }
        Ok(piece.len())
    }
}

fn small_files() -> impl Iterator<Item = Vec<u8>> {
    ORDERS.into_iter().flat_map(|order| [small_pcap(order), small_pcapng(order)])
}

fn whole(bytes: &[u8]) -> Vec<Packet> {
    let (packets, error) = read_all(bytes);
    assert!(error.is_none(), "{error:?}");
    packets
}

#[test]
fn packed_files_give_the_same_packets() {
    for plain in small_files() {
        let packets = whole(&plain);
        assert_eq!(whole(&gzip(&plain)), packets);
        assert_eq!(whole(&zstd(&plain)), packets);
    }
}

#[test]
fn packed_parts_are_one_file() {
    let plain = small_pcap(Order::Little);
    let packets = whole(&plain);
    let (head, tail) = plain.split_at(50);
    assert_eq!(whole(&[gzip(head), gzip(tail)].concat()), packets);
    assert_eq!(whole(&[zstd(head), zstd(tail)].concat()), packets);
    // As pzstd writes it: first a frame that says how long the next one is.
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4];
    assert_eq!(whole(&[skippable.to_vec(), zstd(&plain)].concat()), packets);
}

#[test]
fn a_pipe_may_trickle_and_be_interrupted() {
    for plain in small_files() {
        for bytes in [plain.clone(), gzip(&plain), zstd(&plain)] {
            let trickle =
                bytes.iter().flat_map(|byte| [Err(io::ErrorKind::Interrupted.into()), Ok(vec![*byte])]);
            let file = CaptureFile::from_reader("pipe", Pieces(trickle.collect())).unwrap();
            let (packets, error) = drain(file);
            assert!(error.is_none(), "{error:?}");
            assert_eq!(packets, whole(&plain));
        }
    }
}

#[test]
fn a_packet_comes_as_soon_as_its_bytes_are_there() {
    let plain = small_pcap(Order::Little);
    let failure = io::Error::other("nobody may read this yet");
    let pieces = [Ok(plain[..24].to_vec()), Ok(plain[24..100].to_vec()), Err(failure)];
    let mut file = CaptureFile::from_reader("pipe", Pieces(pieces.into())).unwrap();
    assert_eq!(file.next_frame().unwrap().unwrap().data, [1; 60]);
    let error = file.next_frame().unwrap().unwrap_err();
    assert!(matches!(error, CaptureError::Read { offset: 100, .. }), "{error}");
    assert!(error.to_string().contains("nobody may read this yet"), "{error}");
    assert!(file.next_frame().is_none());
}

#[test]
fn a_file_cut_anywhere_gives_its_whole_packets() {
    for plain in small_files() {
        let packets = whole(&plain);
        let mut boundaries = 0;
        for cut in 0..plain.len() {
            let (read, error) = read_all(&plain[..cut]);
            assert_eq!(read, packets[..read.len()]);
            match error {
                None => boundaries += 1,
                Some(CaptureError::Empty { .. }) => assert_eq!(cut, 0),
                Some(CaptureError::NotACapture { .. }) => assert!(cut < 4),
                Some(CaptureError::Truncated { offset, end, .. }) => {
                    assert!(offset < end && end == cut as u64, "{offset} {end} {cut}");
                }
                Some(other) => panic!("{cut}: {other}"),
            }
        }
        // Behind the file header and behind each record but the last, and the two interfaces and one block.
        assert!(boundaries == packets.len() || boundaries == packets.len() + 3, "{boundaries}");
    }
}

#[test]
fn a_packed_file_cut_anywhere_is_truncated() {
    for plain in small_files() {
        let packets = whole(&plain);
        for packed in [gzip(&plain), zstd(&plain)] {
            for cut in 4..packed.len() {
                let (read, error) = read_all(&packed[..cut]);
                assert_eq!(read, packets[..read.len()]);
                let error = error.unwrap();
                assert!(
                    error.is_truncated() || matches!(error, CaptureError::NotACapture { .. }),
                    "{cut}: {error}"
                );
            }
        }
    }
}

#[test]
fn packed_garbage_says_how_to_check_it() {
    for (mut packed, tool) in [(gzip(&[7; 999]), "gzip -t"), (zstd(&[7; 999]), "zstd -t")] {
        packed[4..].fill(0xff);
        let error = read_all(&packed).1.unwrap().to_string();
        assert!(error.contains(tool), "{error}");
    }
}

#[test]
fn what_is_no_capture_is_named() {
    let message = |bytes: &[u8]| read_all(bytes).1.unwrap().to_string();
    assert!(message(b"").contains("is empty"));
    assert!(message(&gzip(b"")).contains("is empty"));
    assert!(message(b"<html>").contains("[3c, 68, 74, 6d, 6c, 3e]"));
    assert!(message(b"\xd4\xc3").contains("not with a pcap"));
    assert!(message(b"BZh9").contains("bzip2"));
    assert!(message(&gzip(&gzip(&small_pcap(Order::Little)))).contains("packed twice"));
}

#[test]
fn files_are_known_by_content_and_show_progress() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("capture.txt");
    let packed = zstd(&small_pcapng(Order::Little));
    fs::write(&path, &packed).unwrap();
    let mut file = CaptureFile::open(&path).unwrap();
    assert_eq!(file.name(), path.display().to_string());
    while let Some(frame) = file.next_frame() {
        frame.unwrap();
    }
    let size = packed.len() as u64;
    assert_eq!(file.progress(), Progress { bytes_read: size, size: Some(size) });

    let missing = CaptureFile::open(Path::new("/nowhere/x.pcap")).err().unwrap();
    assert!(missing.to_string().starts_with("/nowhere/x.pcap: cannot open: "), "{missing}");
    let not_a_file = CaptureFile::open(folder.path()).err().unwrap();
    assert!(matches!(not_a_file, CaptureError::Open { .. }), "{not_a_file}");
}

prop_compose! {
    fn a_packet()(
        seconds in any::<u32>(),
        fraction in 0..1_000_000_000u32,
        missing in 0..2000u32,
        data in vec(any::<u8>(), 0..300),
    ) -> Packet {
        let timestamp_ns = u64::from(seconds) * 1_000_000_000 + u64::from(fraction);
        Packet { timestamp_ns, link_type: 1, wire_len: data.len() as u32 + missing, data }
    }
}

fn an_order() -> impl Strategy<Value = Order> {
    prop::sample::select(&ORDERS[..])
}

/// Packed in one of three ways.
fn packed(bytes: Vec<u8>, packing: u8) -> Vec<u8> {
    match packing {
        0 => bytes,
        1 => gzip(&bytes),
        _ => zstd(&bytes),
    }
}

/// A file with some bytes changed.
fn mutated(files: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), prop_oneof![Just(0), Just(0xff), any::<u8>()]);
    (prop::sample::select(files), vec(change, 1..6)).prop_map(|(mut bytes, changes)| {
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes
    })
}

/// Whatever the input, an error can be shown and never claims more than there is.
fn survives(bytes: &[u8]) {
    let (packets, error) = read_all(bytes);
    for packet in &packets {
        assert!(packet.wire_len as usize >= packet.data.len());
    }
    if let Some(error) = error {
        assert!(error.to_string().starts_with("test: "), "{error}");
    }
}

proptest! {
    #[test]
    fn pcap_gives_back_what_was_written(
        order in an_order(), packets in vec(a_packet(), 0..40), packing in 0..3u8,
    ) {
        let mut file = Writer::new(order);
        file.pcap_header(0xa1b2_3c4d, 4, 65535, 1);
        for Packet { timestamp_ns, wire_len, data, .. } in &packets {
            let time = ((timestamp_ns / 1_000_000_000) as u32, (timestamp_ns % 1_000_000_000) as u32);
            file.pcap_record(time, *wire_len, &[], data);
        }
        prop_assert_eq!(whole(&packed(file.bytes, packing)), packets);
    }

    #[test]
    fn pcapng_gives_back_what_was_written(
        order in an_order(), packets in vec(a_packet(), 0..40), packing in 0..3u8,
    ) {
        let mut file = Writer::new(order);
        file.section().interface(1, 0, &[(9, &[9])]);
        for Packet { timestamp_ns, wire_len, data, .. } in &packets {
            file.enhanced(0, *timestamp_ns, *wire_len, data);
        }
        prop_assert_eq!(whole(&packed(file.bytes, packing)), packets);
    }

    #[test]
    fn random_bytes_are_survived(
        bytes in vec(any::<u8>(), 0..300),
        file in prop::sample::select(small_files().collect::<Vec<_>>()),
    ) {
        survives(&bytes);
        // Random records, and random bytes behind the magic number.
        survives(&[&file[..if file[0] == 0x0a { 48 } else { 24 }], &bytes[..]].concat());
        survives(&[&file[..4], &bytes[..]].concat());
        survives(&[&gzip(b"")[..10], &bytes[..]].concat());
        survives(&[&zstd(b"")[..4], &bytes[..]].concat());
    }

    #[test]
    fn changed_files_are_survived(plain in mutated(small_files().collect()), packing in 0..3u8) {
        survives(&packed(plain, packing));
    }

    #[test]
    fn changed_packed_files_are_survived(
        bytes in mutated(small_files().flat_map(|plain| [gzip(&plain), zstd(&plain)]).collect()),
    ) {
        survives(&bytes);
    }

    #[test]
    fn the_pieces_of_a_pipe_do_not_matter(
        plain in mutated(small_files().collect()), sizes in vec(1..40usize, 1..8),
    ) {
        let mut rest = &plain[..];
        let mut pieces = VecDeque::new();
        for size in sizes.into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at(size.min(rest.len()));
            pieces.push_back(Ok(piece.to_vec()));
            rest = after;
        }
        let in_pieces = match CaptureFile::from_reader("test", Pieces(pieces)) {
            Ok(file) => drain(file),
            Err(error) => (Vec::new(), Some(error)),
        };
        let at_once = match CaptureFile::from_reader("test", Cursor::new(plain)) {
            Ok(file) => drain(file),
            Err(error) => (Vec::new(), Some(error)),
        };
        let text = |error: Option<CaptureError>| error.map(|error| error.to_string());
        prop_assert_eq!((in_pieces.0, text(in_pieces.1)), (at_once.0, text(at_once.1)));
    }
}
