//! Why a packet belongs to no flow.

macro_rules! parse_errors {
    ($( $(#[$meta:meta])* $variant:ident = $name:literal, )*) => {
        /// Why a packet belongs to no flow: each has its own counter in the [ledger](crate::ledger).
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ParseError { $( $(#[$meta])* $variant, )* }

        impl ParseError {
            /// All of them, in the order of their counters.
            pub const ALL: &'static [Self] = &[ $( Self::$variant ),* ];

            /// Its name in ledgers, metrics and logs.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $name ),* }
            }
        }
    };
}

parse_errors! {
    /// The link header ends before the packet says what it carries.
    TruncatedLink = "truncated_link",
    /// A link type that ntc does not know (capture files only).
    UnknownLink = "unknown_link",
    /// More than [`MAX_VLAN_TAGS`](crate::limits::MAX_VLAN_TAGS) tags.
    TooManyTags = "too_many_tags",
    /// More than [`MAX_MPLS_LABELS`](crate::limits::MAX_MPLS_LABELS) labels.
    TooManyLabels = "too_many_labels",
    /// Neither IPv4 nor IPv6: ARP, LLDP, PPPoE discovery and the like.
    NotIp = "not_ip",
    /// The packet ends inside its IP header.
    TruncatedIp = "truncated_ip",
    /// The version field contradicts the protocol that the link header names.
    BadIpVersion = "bad_ip_version",
    /// An IPv4 header length below 20 bytes.
    BadIpHeaderLength = "bad_ip_header_length",
    /// An IP length that is shorter than the headers it covers.
    BadIpLength = "bad_ip_length",
    /// An IP length that is longer than the packet: the kernel drops it, too.
    LengthBeyondPacket = "length_beyond_packet",
    /// A fragment with an offset: it has no ports (RFC 791, RFC 8200 section 4.5).
    Fragment = "fragment",
    /// More than [`MAX_EXTENSION_HEADERS`](crate::limits::MAX_EXTENSION_HEADERS) IPv6 extension headers.
    TooManyExtensions = "too_many_extensions",
    /// The packet ends inside its IPv6 extension headers.
    TruncatedExtension = "truncated_extension",
    /// Neither TCP nor UDP.
    NotTcpUdp = "not_tcp_udp",
    /// The packet ends inside its TCP or UDP header.
    TruncatedTransport = "truncated_transport",
    /// A TCP data offset below 5 words or beyond the segment (RFC 9293 section 3.1).
    BadTcpHeaderLength = "bad_tcp_header_length",
    /// A UDP length below 8 or beyond the datagram (RFC 768).
    BadUdpLength = "bad_udp_length",
}

impl core::fmt::Display for ParseError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

impl core::error::Error for ParseError {}
