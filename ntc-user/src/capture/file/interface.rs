//! An interface of a pcapng section: its link type, and how its time stamps count.

use super::order::Order;

const OPTION_END: u16 = 0;
const OPTION_TSRESOL: u16 = 9;
const OPTION_TSOFFSET: u16 = 14;

const NS_PER_SECOND: u64 = 1_000_000_000;

/// What an Interface Description Block says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub link_type: u16,
    /// Longest captured length; 0: no limit.
    pub snaplen: u32,
    pub clock: Clock,
}

/// How a 64-bit time stamp becomes nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    unit: Unit,
    /// Seconds to add.
    offset: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// A power of ten of 1 ns or more, in ns.
    Times(u64),
    /// Finer than 1 ns: so many a ns.
    Per(u64),
    /// A second is 2^n of them.
    Binary(u8),
}

impl Interface {
    /// From the body of the block. `None` if it is too short or an option reaches past its end.
    pub(super) fn parse(body: &[u8], order: Order) -> Option<Self> {
        let &[l0, l1, _, _, s0, s1, s2, s3] = body.first_chunk()?;
        let mut clock = Clock { unit: Unit::Times(1000), offset: 0 };
        let mut rest = &body[8..];
        while let Some(&[c0, c1, n0, n1]) = rest.first_chunk() {
            let code = order.u16([c0, c1]);
            if code == OPTION_END {
                break;
            }
            let length = usize::from(order.u16([n0, n1]));
            let value = rest.get(4..4 + length)?;
            match (code, value) {
                (OPTION_TSRESOL, &[resolution]) => clock.unit = Unit::from_resolution(resolution),
                (OPTION_TSOFFSET, value) => clock.offset = order.i64(value.try_into().ok()?),
                (OPTION_TSRESOL, _) => return None,
                _ => {}
            }
            // Padding of the last option may be missing.
            rest = rest.get(4 + length.next_multiple_of(4)..).unwrap_or_default();
        }
        Some(Self { link_type: order.u16([l0, l1]), snaplen: order.u32([s0, s1, s2, s3]), clock })
    }
}

impl Unit {
    /// `if_tsresol`: the top bit chooses powers of two, the rest is the negative exponent.
    fn from_resolution(resolution: u8) -> Self {
        let exponent = resolution & 0x7f;
        if resolution & 0x80 != 0 {
            Self::Binary(exponent)
        } else if exponent <= 9 {
            Self::Times(10u64.pow(9 - u32::from(exponent)))
        } else {
            // Where the power does not fit, no 64-bit count reaches even 1 ns.
            Self::Per(10u64.checked_pow(u32::from(exponent) - 9).unwrap_or(u64::MAX))
        }
    }
}

impl Clock {
    /// Nanoseconds since the Unix epoch. Times before it are 0, those after the year 2554 are the greatest.
    #[inline]
    pub(super) fn to_ns(self, stamp: u64) -> u64 {
        let ns = match self.unit {
            Unit::Times(ns) => stamp.saturating_mul(ns),
            Unit::Per(count) => stamp / count,
            // At most 2^64 * 2^30, and the exponent is below 128.
            Unit::Binary(exponent) => {
                clamp_u64(((u128::from(stamp) * u128::from(NS_PER_SECOND)) >> exponent) as i128)
            }
        };
        if self.offset == 0 {
            return ns;
        }
        clamp_u64(i128::from(ns) + i128::from(self.offset) * i128::from(NS_PER_SECOND))
    }
}

fn clamp_u64(value: i128) -> u64 {
    value.clamp(0, i128::from(u64::MAX)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(resolution: u8, offset: i64) -> Clock {
        Clock { unit: Unit::from_resolution(resolution), offset }
    }

    #[test]
    fn decimal_resolutions() {
        assert_eq!(clock(0, 0).to_ns(7), 7_000_000_000);
        assert_eq!(clock(3, 0).to_ns(7), 7_000_000);
        assert_eq!(clock(6, 0).to_ns(1_700_000_000_123_456), 1_700_000_000_123_456_000);
        assert_eq!(clock(9, 0).to_ns(1_700_000_000_123_456_789), 1_700_000_000_123_456_789);
        assert_eq!(clock(12, 0).to_ns(1_234_567), 1234);
        assert_eq!(clock(127, 0).to_ns(u64::MAX - 1), 0);
    }

    #[test]
    fn binary_resolutions() {
        assert_eq!(clock(0x80, 0).to_ns(3), 3_000_000_000);
        assert_eq!(clock(0x80 | 10, 0).to_ns(1536), 1_500_000_000);
        assert_eq!(clock(0xff, 0).to_ns(u64::MAX), 0);
    }

    #[test]
    fn offsets_add_seconds_and_saturate() {
        assert_eq!(clock(6, 1_700_000_000).to_ns(5), 1_700_000_000_000_005_000);
        assert_eq!(clock(6, -1).to_ns(1_500_000), 500_000_000);
        assert_eq!(clock(6, -2).to_ns(1_500_000), 0);
        assert_eq!(clock(6, i64::MIN).to_ns(u64::MAX), 0);
        assert_eq!(clock(0, i64::MAX).to_ns(u64::MAX), u64::MAX);
    }
}
