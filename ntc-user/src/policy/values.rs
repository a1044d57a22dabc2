//! What stands in a policy's strings: code points, queues, marks, addresses, ports.

use std::{borrow::Cow, fmt, net::IpAddr, str::FromStr};

use ntc_common::{
    key::{IPPROTO_TCP, IPPROTO_UDP},
    policy::ExistingDscp,
    rules,
};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::likeness::did_you_mean;

/// Code points by name (RFC 2474, 2597, 3246, 5865, 8622).
const CODE_POINTS: [(&str, u8); 24] = [
    ("CS0", 0),
    ("DF", 0),
    ("LE", 1),
    ("CS1", 8),
    ("AF11", 10),
    ("AF12", 12),
    ("AF13", 14),
    ("CS2", 16),
    ("AF21", 18),
    ("AF22", 20),
    ("AF23", 22),
    ("CS3", 24),
    ("AF31", 26),
    ("AF32", 28),
    ("AF33", 30),
    ("CS4", 32),
    ("AF41", 34),
    ("AF42", 36),
    ("AF43", 38),
    ("CS5", 40),
    ("VA", 44),
    ("EF", 46),
    ("CS6", 48),
    ("CS7", 56),
];

/// A code point by its first name; the number where it has none.
pub fn dscp_name(code: u8) -> String {
    let named = CODE_POINTS.iter().find(|(_, known)| *known == code);
    named.map_or_else(|| code.to_string(), |(name, _)| (*name).to_owned())
}

/// A differentiated services code point, 0 to 63.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dscp(pub u8);

/// A qdisc class, major number in the upper half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority(pub u32);

/// A mark, all bits in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(pub u32);

/// Bits of an address that count: IPv4 as IPv4-mapped IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The address, its other bits 0.
    pub address: [u8; 16],
    /// From the left.
    pub bits: u8,
}

/// An IEEE 802 address as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac(pub u64);

/// Ports, both ends among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// Lowest.
    pub low: u16,
    /// Highest.
    pub high: u16,
}

/// A transport protocol's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport(pub u8);

/// What to do with a packet that already carries a code point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Existing(pub ExistingDscp);

/// A share from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(pub f64);

impl Share {
    /// In 1/65535.
    pub fn fixed(self) -> u16 {
        (self.0 * 65535.0).round() as u16
    }
}

impl FromStr for Dscp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named =
            CODE_POINTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, code)| *code);
        let code = named.or_else(|| text.parse().ok().filter(|code| *code < 64));
        code.map(Self).ok_or_else(|| {
            let names = CODE_POINTS.map(|(name, _)| name);
            format!("{text:?} is neither a name like AF21 nor 0 to 63{}", did_you_mean(text, names))
        })
    }
}

impl FromStr for Priority {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let half = |text| u16::from_str_radix(text, 16).ok().map(u32::from);
        let whole = text.split_once(':').and_then(|(major, minor)| Some((half(major)? << 16) | half(minor)?));
        whole.filter(|priority| *priority != 0).map(Self).ok_or_else(|| {
            format!("{text:?} is no \"major:minor\" in hexadecimal, as tc writes classes: \"1:11\"")
        })
    }
}

impl FromStr for Mark {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = match text.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => text.parse(),
        };
        parsed
            .ok()
            .filter(|mark| *mark != 0)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no mark: give 0x00030000 or the like"))
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("{text:?} is no address and no prefix: give 192.168.1.0/24, 2001:db8::/32 or the like")
        };
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let (address, width, before) = match address {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped(), 32, 96),
            IpAddr::V6(v6) => (v6, 128, 0),
        };
        let bits: u8 = bits.map_or(Ok(width), str::parse).map_err(|_| wrong())?;
        if bits > width {
            return Err(wrong());
        }
        let bits = bits + before;
        let wide = u128::from(address);
        if bits < 128 && wide << bits != 0 {
            return Err(format!("{text:?} has bits set behind its prefix"));
        }
        Ok(Self { address: address.octets(), bits })
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bytes: Option<Vec<u8>> =
            text.split([':', '-']).map(|byte| u8::from_str_radix(byte, 16).ok()).collect();
        let bytes: Option<[u8; 6]> = bytes.and_then(|bytes| bytes.try_into().ok());
        let number = bytes.map(rules::mac).filter(|number| *number != 0);
        number
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no hardware address: give 02:00:5e:10:00:01 or the like"))
    }
}

impl FromStr for Ports {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        match (low.trim().parse(), high.trim().parse()) {
            (Ok(low), Ok(high)) if low <= high && low > 0 => Ok(Self { low, high }),
            _ => Err(format!("{text:?} is no port and no range of ports: give 5060 or \"10000-20000\"")),
        }
    }
}

impl FromStr for Transport {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "tcp" => Ok(Self(IPPROTO_TCP)),
            "udp" => Ok(Self(IPPROTO_UDP)),
            _ => Err(format!("{text:?} is neither tcp nor udp")),
        }
    }
}

impl FromStr for Existing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "override" => Ok(Self(ExistingDscp::Override)),
            "if-zero" => Ok(Self(ExistingDscp::IfZero)),
            "never" => Ok(Self(ExistingDscp::Never)),
            _ => Err(format!("{text:?} is neither override, if-zero nor never")),
        }
    }
}

/// A string, or the number that it could be.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Number(i64),
    Other(toml::Value),
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => number.fmt(f),
            Self::Other(value) => value.fmt(f),
        }
    }
}

/// Reads by [`FromStr`], and describes itself in the schema.
macro_rules! written {
    ($($type:ident: $schema:tt;)*) => { $(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Written::deserialize(deserializer)?.to_string().parse().map_err(D::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )* };
}

written! {
    Dscp: { "anyOf": [
        { "type": "integer", "minimum": 0, "maximum": 63 },
        { "type": "string", "pattern": "^(CS[0-7]|DF|LE|AF[1-4][1-3]|VA|EF|[0-9]{1,2})$" }
    ] };
    Priority: { "type": "string", "pattern": "^[0-9a-fA-F]{1,4}:[0-9a-fA-F]{1,4}$" };
    Mark: { "anyOf": [
        { "type": "integer", "minimum": 1, "maximum": 4294967295_u32 },
        { "type": "string", "pattern": "^0x[0-9a-fA-F]{1,8}$" }
    ] };
    Prefix: { "type": "string", "pattern": "^[0-9a-fA-F.:]+(/[0-9]{1,3})?$" };
    Mac: { "type": "string", "pattern": "^[0-9a-fA-F]{1,2}([:-][0-9a-fA-F]{1,2}){5}$" };
    Ports: { "anyOf": [
        { "type": "integer", "minimum": 1, "maximum": 65535 },
        { "type": "string", "pattern": "^[0-9]{1,5}(-[0-9]{1,5})?$" }
    ] };
    Transport: { "enum": ["tcp", "udp"] };
    Existing: { "enum": ["override", "if-zero", "never"] };
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let share =
            f64::deserialize(deserializer).map_err(|_| D::Error::custom("not a number from 0 to 1"))?;
        if (0.0..=1.0).contains(&share) {
            Ok(Self(share))
        } else {
            Err(D::Error::custom(format!("{share} is not from 0 to 1")))
        }
    }
}

impl JsonSchema for Share {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0, "maximum": 1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_both_families_count_from_the_mapped_address_on() {
        let of = |text: &str| text.parse::<Prefix>().map(|prefix| prefix.bits);
        assert_eq!(of("192.168.1.0/24"), Ok(120));
        assert_eq!(of("192.168.1.7"), Ok(128));
        assert_eq!(of("0.0.0.0/0"), Ok(96));
        assert_eq!(of("::/0"), Ok(0));
        for wrong in ["192.168.1.7/24", "192.168.1.0/33", "192.168.1", "2001:db8::/129", ""] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn code_points_have_names_and_numbers() {
        assert_eq!("ef".parse(), Ok(Dscp(46)));
        assert_eq!("46".parse(), Ok(Dscp(46)));
        assert!("64".parse::<Dscp>().is_err());
        assert!("AF14".parse::<Dscp>().is_err_and(|error| error.contains("did you mean \"AF")));
        assert_eq!((dscp_name(0), dscp_name(1), dscp_name(63)), ("CS0".into(), "LE".into(), "63".into()));
    }

    #[test]
    fn ports_marks_and_hardware_addresses() {
        assert_eq!("10000-20000".parse(), Ok(Ports { low: 10_000, high: 20_000 }));
        assert_eq!("5060".parse(), Ok(Ports { low: 5060, high: 5060 }));
        assert!("20-10".parse::<Ports>().is_err() && "0".parse::<Ports>().is_err());
        assert_eq!("02:00:5e:10:00:01".parse(), Ok(Mac(0x0200_5e10_0001)));
        assert!("02:00:5e:10:00".parse::<Mac>().is_err());
        assert_eq!(("0x30000".parse(), "5".parse()), (Ok(Mark(0x30000)), Ok(Mark(5))));
    }
}
