//! Names what a file is that is not a capture of ours, so that the message helps.

/// What a file that starts with `head` looks like, and what to do about it.
pub(super) fn recognise(head: &[u8]) -> (String, &'static str) {
    const CONVERT: &str = "convert it with `editcap -F pcap IN OUT`";
    const UNPACK: &str = "unpack it first, or pack it with gzip or zstd";
    let known = [
        (&b"\xfd7zXZ"[..], "an xz header", UNPACK),
        (b"BZh", "a bzip2 header", UNPACK),
        (b"PK\x03\x04", "a zip header", UNPACK),
        (b"7z\xbc\xaf", "a 7-Zip header", UNPACK),
        (b"\x04\x22\x4d\x18", "an lz4 header", UNPACK),
        (b"\x1f\x8b", "a gzip header inside the compression", "it is packed twice: unpack it once"),
        (b"\x28\xb5\x2f\xfd", "a zstd header inside the compression", "it is packed twice: unpack it once"),
        (b"snoop", "a snoop header", CONVERT),
        (b"XCP\0", "a NetXray header", CONVERT),
        (b"TRSNIFF", "a Sniffer header", CONVERT),
        (b"GMBU", "a Network Monitor header", CONVERT),
        (b"RTSS", "a Network Monitor header", CONVERT),
        (b"\xac\x01\x00\x1c", "an IXIA header", CONVERT),
        (b"\xab\x01\x00\x1c", "an IXIA header", CONVERT),
        (b"\x1c\x00\x01\xac", "an IXIA header", CONVERT),
        (b"\x1c\x00\x01\xab", "an IXIA header", CONVERT),
        // Variants of pcap with other record headers.
        (b"\xa1\xe2\xcb\x12", "the header of a rare variant of pcap", CONVERT),
        (b"\x12\xcb\xe2\xa1", "the header of a rare variant of pcap", CONVERT),
        (b"\xa1\xb2\xc3\xcd", "the header of a rare variant of pcap", CONVERT),
        (b"\xcd\xc3\xb2\xa1", "the header of a rare variant of pcap", CONVERT),
    ];
    if let Some((_, name, advice)) = known.into_iter().find(|(magic, ..)| head.starts_with(magic)) {
        return (name.to_owned(), advice);
    }
    let shown = &head[..head.len().min(8)];
    (format!("the bytes {shown:02x?}"), "give a pcap or pcapng file, plain or packed with gzip or zstd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_formats_are_named_and_others_shown() {
        assert_eq!(recognise(b"BZh91AY").0, "a bzip2 header");
        assert_eq!(recognise(b"snoop\0\0\0").0, "a snoop header");
        assert_eq!(recognise(b"ab").0, "the bytes [61, 62]");
        assert_eq!(recognise(b"").0, "the bytes []");
    }
}
