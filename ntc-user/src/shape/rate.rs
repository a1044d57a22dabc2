//! Rates, as tc writes them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Bytes a second; written as tc writes rates, in bits: `20mbit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Rate(pub u64);

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(split);
        let factor = match unit.to_ascii_lowercase().as_str() {
            "bit" => 1.0,
            "kbit" => 1e3,
            "mbit" => 1e6,
            "gbit" => 1e9,
            _ => return Err(format!("{text:?} is no rate: give 20mbit, 512kbit or 1gbit")),
        };
        let bits: f64 = number.parse().map_err(|_| format!("{text:?} is no rate: give 20mbit"))?;
        let bytes = bits * factor / 8.0;
        // Below, a single packet takes more than a second.
        if (1514.0..1e12).contains(&bytes) {
            Ok(Self(bytes as u64))
        } else {
            Err(format!("{text:?} is out of range"))
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0}kbit", self.0 as f64 * 8.0 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_tc_writes_them() {
        assert_eq!("20mbit".parse(), Ok(Rate(2_500_000)));
        assert_eq!("1.5Gbit".parse(), Ok(Rate(187_500_000)));
        for wrong in ["20", "mbit", "20MB", "1bit", "-3mbit"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }
}
