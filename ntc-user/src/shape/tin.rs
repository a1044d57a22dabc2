//! What a class is worth, by its code point.

use std::fmt;

use serde::Serialize;

/// A tin of CAKE's `diffserv4` (net/sched/sch_cake.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tin {
    /// Calls.
    Voice,
    /// What people wait for.
    Video,
    /// The rest.
    BestEffort,
    /// What can wait.
    Bulk,
}

impl Tin {
    /// By code point.
    pub const fn of(dscp: u8) -> Self {
        match dscp {
            1 | 8 => Self::Bulk,
            32 | 40 | 44 | 46 | 48 | 56 => Self::Voice,
            4 | 16 | 18 | 20 | 22 | 24 | 26 | 28 | 30 | 34 | 36 | 38 => Self::Video,
            _ => Self::BestEffort,
        }
    }

    /// Sixteenths of the rate that the tin always has, all of them together.
    pub(super) const fn sixteenths(self) -> u64 {
        match self {
            Self::Voice => 4,
            Self::Video => 8,
            Self::BestEffort => 3,
            Self::Bulk => 1,
        }
    }

    /// HTB's priority for what others leave. It is strict, so that what nobody knows, which is best effort, has to have
    /// the same as video.
    pub(super) const fn borrows(self) -> u32 {
        match self {
            Self::Voice => 0,
            Self::Video | Self::BestEffort => 1,
            Self::Bulk => 2,
        }
    }

    /// Sixteenths of the rate up to which CAKE lets the tin go before the others (`cake_config_diffserv4`).
    pub(super) const fn goes_first(self) -> u64 {
        match self {
            Self::Voice => 4,
            Self::Video => 8,
            Self::BestEffort => 16,
            Self::Bulk => 1,
        }
    }

    /// The minor number by which a priority picks the tin, where its major number is CAKE's (`cake_select_tin`).
    pub(super) const fn minor(self) -> u16 {
        match self {
            Self::Bulk => 1,
            Self::BestEffort => 2,
            Self::Video => 3,
            Self::Voice => 4,
        }
    }

    /// All of them, as priorities number them.
    pub(super) const ALL: [Self; 4] = [Self::Bulk, Self::BestEffort, Self::Video, Self::Voice];
}

impl fmt::Display for Tin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Voice => "voice",
            Self::Video => "video",
            Self::BestEffort => "best effort",
            Self::Bulk => "bulk",
        })
    }
}
