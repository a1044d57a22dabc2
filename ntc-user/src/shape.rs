//! Queues that fit a policy: an HTB with a class for each of the policy's priorities.
//!
//! What each class is worth follows from its code point, by the four tins of CAKE's `diffserv4`: a class always has its
//! part of its tin's share, and borrows what others leave, in the order of the tins.

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use ntc_common::{limits::MAX_CLASSES, policy::PolicyTable};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    kernel::netlink::{
        links::links,
        qdiscs::{self, HtbClass, Qdisc, ROOT},
    },
    policy::class_name,
};

/// What ntc put in place of what, for the time after it.
const STATE: &str = "/run/ntc";
/// The class that all others borrow from.
const TRUNK: u16 = 0xffff;
/// For what the policy leaves alone; the built-in policy's own classes begin behind it.
const REST: u16 = 0x10;
/// A packet with its link header.
const PACKET: u64 = 1514;
/// HTB wakes up so often at least, and may send what it then owes: a 250th of a second's worth.
const WAKES: u64 = 250;
/// Where there is no fq_codel, a queue holds a tenth of a second at the full rate.
const QUEUES: u64 = 10;

/// Queues that cannot be set up, and why.
#[derive(Debug, Error)]
pub enum ShapeError {
    /// No such interface.
    #[error("interface {0}: there is none of that name")]
    NoInterface(String),
    /// The policy has priorities that one HTB cannot have.
    #[error(
        "the policy's priorities are of different qdiscs ({0:x}: and {1:x}:): one interface has one root"
    )]
    Majors(u32, u32),
    /// The policy chooses no queues.
    #[error("no class of the policy has a priority: there is nothing to queue by")]
    NoPriorities,
    /// Somebody's qdisc, which ntc was not told to replace.
    #[error(
        "interface {interface}: {kind} with handle {handle:x}: was set up by somebody; --replace takes its place and restores it"
    )]
    InTheWay {
        /// Where.
        interface: String,
        /// Its kind.
        kind: String,
        /// Its major number.
        handle: u32,
    },
    /// Somebody's qdisc, which ntc could not restore.
    #[error(
        "interface {interface}: {kind} has {classes} classes, which ntc cannot restore; take it away by hand first"
    )]
    Classes {
        /// Where.
        interface: String,
        /// Its kind.
        kind: String,
        /// How many.
        classes: usize,
    },
    /// Netlink.
    #[error("interface {interface}: {what}: {source}")]
    Kernel {
        /// Where.
        interface: String,
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// What was there before cannot be noted.
    #[error("{path}: {source}")]
    State {
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

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
            16 | 18 | 20 | 22 | 24 | 26 | 28 | 30 | 34 | 36 | 38 => Self::Video,
            _ => Self::BestEffort,
        }
    }

    /// Sixteenths of the rate that the tin always has, all of them together.
    const fn sixteenths(self) -> u64 {
        match self {
            Self::Voice => 4,
            Self::Video => 8,
            Self::BestEffort => 3,
            Self::Bulk => 1,
        }
    }
}

/// A queue of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Queue {
    /// Its HTB class.
    pub minor: u16,
    /// Classes of the policy that it takes; none for what is left alone.
    pub classes: Vec<String>,
    /// What it is worth.
    pub tin: Tin,
    /// What it always has.
    pub rate: Rate,
}

/// What is there, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// The kernel's own: comes back by itself.
    Default(String),
    /// ntc's own, from before.
    Ours,
    /// Somebody's.
    Foreign(Qdisc),
}

/// What is to be set up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Where.
    pub interface: String,
    #[serde(skip)]
    index: u32,
    /// At the root.
    pub major: u16,
    /// Of all together.
    pub rate: Rate,
    /// By minor number.
    pub queues: Vec<Queue>,
    /// What is in the place now.
    pub found: Found,
}

/// Noted while ntc's qdisc is there.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    major: u16,
    before: Option<Qdisc>,
}

/// Plans queues for an interface; changes nothing.
///
/// # Errors
/// No such interface, or a policy that fits no HTB.
pub fn plan(interface: &str, rate: Rate, table: &PolicyTable) -> Result<Plan, ShapeError> {
    let index = index(interface)?;
    let (major, queues) = queues(table, rate)?;
    Ok(Plan { interface: interface.into(), index, major, rate, queues, found: found(interface, index)? })
}

/// The root's major number, and its classes.
fn queues(table: &PolicyTable, rate: Rate) -> Result<(u16, Vec<Queue>), ShapeError> {
    let mut by_minor: BTreeMap<u16, (Tin, Vec<String>)> = BTreeMap::new();
    let mut major = None;
    for (class, action) in (0..MAX_CLASSES as u8).zip(&table.classes) {
        if action.priority == 0 || action.drop != 0 {
            continue;
        }
        let Some(name) = class_name(table, class) else { continue };
        let first = *major.get_or_insert(action.priority >> 16);
        if action.priority >> 16 != first {
            return Err(ShapeError::Majors(first, action.priority >> 16));
        }
        let tin = Tin::of(action.dscp);
        let entry = by_minor.entry(action.priority as u16).or_insert_with(|| (tin, Vec::new()));
        entry.0 = entry.0.min(tin);
        entry.1.push(name);
    }
    let major = major.ok_or(ShapeError::NoPriorities)? as u16;
    by_minor.entry(REST).or_insert((Tin::BestEffort, Vec::new()));
    let sharing = |tin: Tin| by_minor.values().filter(|(other, _)| *other == tin).count() as u64;
    let queue = |(minor, (tin, classes)): (&u16, &(Tin, Vec<String>))| Queue {
        minor: *minor,
        classes: classes.clone(),
        tin: *tin,
        rate: Rate((rate.0 * tin.sixteenths() / 16 / sharing(*tin)).max(1)),
    };
    Ok((major, by_minor.iter().map(queue).collect()))
}

impl Plan {
    /// Sets the queues up. Somebody's qdisc gives way only with `replace`; what was there is noted, to be restored.
    ///
    /// # Errors
    /// Somebody's qdisc is in the way, or what the kernel refused; then all is as it was.
    pub fn apply(&self, replace: bool) -> Result<(), ShapeError> {
        let failed =
            |what| move |source| ShapeError::Kernel { interface: self.interface.clone(), what, source };
        let before = match &self.found {
            Found::Default(_) => None,
            Found::Ours => state(self.index).and_then(|state| state.before),
            Found::Foreign(qdisc) => {
                let classes = qdiscs::classes(self.index).map_err(failed("cannot list classes"))?.len();
                if classes > 0 && !is_queue_of_flows(&qdisc.kind) {
                    let (interface, kind) = (self.interface.clone(), qdisc.kind.clone());
                    return Err(ShapeError::Classes { interface, kind, classes });
                }
                if !replace {
                    return Err(ShapeError::InTheWay {
                        interface: self.interface.clone(),
                        kind: qdisc.kind.clone(),
                        handle: qdisc.handle >> 16,
                    });
                }
                Some(qdisc.clone())
            }
        };
        note(self.index, &State { major: self.major, before: before.clone() })?;
        let made = self.make();
        if made.is_err() {
            // Whatever became of it, what was there comes back.
            let _ = restore(self.index, before.as_ref());
            let _ = fs::remove_file(state_path(self.index));
        }
        made.map_err(failed("cannot set the queues up"))
    }

    fn make(&self) -> io::Result<()> {
        let handle = |minor: u16| u32::from(self.major) << 16 | u32::from(minor);
        if self.found == Found::Ours {
            qdiscs::remove_root(self.index)?;
        }
        qdiscs::put(self.index, ROOT, &qdiscs::htb(handle(0), REST))?;
        let all = self.rate.0;
        let burst = all / WAKES + PACKET;
        let class = |minor, parent, rate, priority| HtbClass {
            handle: handle(minor),
            parent,
            rate,
            ceil: all,
            priority,
            burst,
        };
        qdiscs::add_class(self.index, &class(TRUNK, handle(0), all, 0))?;
        for queue in &self.queues {
            qdiscs::add_class(
                self.index,
                &class(queue.minor, handle(TRUNK), queue.rate.0, queue.tin as u32),
            )?;
            let fair = Qdisc { kind: "fq_codel".into(), handle: 0, options: Vec::new() };
            match qdiscs::put(self.index, handle(queue.minor), &fair) {
                // This kernel has none.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let packets = (all / QUEUES / PACKET).clamp(16, 1000) as u32;
                    qdiscs::put(self.index, handle(queue.minor), &qdiscs::pfifo(packets))?;
                }
                other => other?,
            }
        }
        Ok(())
    }
}

/// Takes ntc's queues away and restores what was there; `false` where they are not ntc's, or not there any more.
///
/// # Errors
/// What the kernel refused.
pub fn remove(interface: &str) -> Result<bool, ShapeError> {
    let index = index(interface)?;
    let ours = found(interface, index)? == Found::Ours;
    if ours {
        let before = state(index).and_then(|state| state.before);
        restore(index, before.as_ref()).map_err(|source| ShapeError::Kernel {
            interface: interface.into(),
            what: "cannot restore what was there",
            source,
        })?;
    }
    let _ = fs::remove_file(state_path(index));
    Ok(ours)
}

fn restore(index: u32, before: Option<&Qdisc>) -> io::Result<()> {
    qdiscs::remove_root(index)?;
    before.map_or(Ok(()), |qdisc| qdiscs::put(index, ROOT, qdisc))
}

fn found(interface: &str, index: u32) -> Result<Found, ShapeError> {
    let root = qdiscs::root(index).map_err(|source| ShapeError::Kernel {
        interface: interface.into(),
        what: "cannot list qdiscs",
        source,
    })?;
    let Some(root) = root else { return Ok(Found::Default("noqueue".into())) };
    let ours =
        state(index).is_some_and(|state| root.kind == "htb" && root.handle >> 16 == u32::from(state.major));
    Ok(match root {
        _ if ours => Found::Ours,
        root if root.handle == 0 => Found::Default(root.kind),
        root => Found::Foreign(root),
    })
}

/// Kinds whose classes are flows, not somebody's configuration.
fn is_queue_of_flows(kind: &str) -> bool {
    ["fq_codel", "fq_pie", "sfq", "cake", "fq", "tbf"].contains(&kind)
}

fn index(interface: &str) -> Result<u32, ShapeError> {
    let failed =
        |source| ShapeError::Kernel { interface: interface.into(), what: "cannot list interfaces", source };
    let known = links().map_err(failed)?;
    let found = known.iter().find(|link| link.name == interface);
    found.map(|link| link.index).ok_or_else(|| ShapeError::NoInterface(interface.into()))
}

/// An index means something in its network namespace only.
fn state_path(index: u32) -> PathBuf {
    let namespace = fs::metadata("/proc/thread-self/ns/net").map_or(0, |namespace| namespace.ino());
    Path::new(STATE).join(format!("qdisc-{namespace}-{index}.json"))
}

fn state(index: u32) -> Option<State> {
    serde_json::from_slice(&fs::read(state_path(index)).ok()?).ok()
}

fn note(index: u32, state: &State) -> Result<(), ShapeError> {
    let path = state_path(index);
    let write = || {
        fs::create_dir_all(STATE)?;
        fs::write(&path, serde_json::to_vec(state)?)
    };
    write().map_err(|source| ShapeError::State { path: path.display().to_string(), source })
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = match &self.found {
            Found::Default(kind) => format!("{kind}, the kernel's own, which comes back afterwards"),
            Found::Ours => "ntc's own, from before".into(),
            Found::Foreign(qdisc) => {
                format!("{} {:x}:, somebody's: asks for --replace", qdisc.kind, qdisc.handle >> 16)
            }
        };
        writeln!(f, "{}: htb {:x}: at {}, in place of {found}", self.interface, self.major, self.rate)?;
        writeln!(f, "{:<8}{:<12}{:>12}{:>12}  classes", "class", "tin", "always", "at most")?;
        for Queue { minor, classes, tin, rate } in &self.queues {
            let classes =
                if classes.is_empty() { "what ntc leaves alone".into() } else { classes.join(", ") };
            let tin = match tin {
                Tin::Voice => "voice",
                Tin::Video => "video",
                Tin::BestEffort => "best effort",
                Tin::Bulk => "bulk",
            };
            let handle = format!("{:x}:{minor:x}", self.major);
            writeln!(
                f,
                "{handle:<8}{tin:<12}{:>12}{:>12}  {classes}",
                rate.to_string(),
                self.rate.to_string()
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;
    use ntc_common::policy::MARK_MASK_DEFAULT;

    #[test]
    fn rates_are_read_as_tc_writes_them() {
        assert_eq!("20mbit".parse(), Ok(Rate(2_500_000)));
        assert_eq!("1.5Gbit".parse(), Ok(Rate(187_500_000)));
        for wrong in ["20", "mbit", "20MB", "1bit", "-3mbit"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_built_in_policy_gets_a_queue_for_each_class_and_one_for_the_rest() {
        let policy = Policy::load(None, MARK_MASK_DEFAULT).expect("the built-in policy");
        let (major, queues) = queues(&policy.table, Rate(1_600_000)).expect("a plan");
        assert_eq!((major, queues.len(), queues[0].minor), (1, 11, REST));
        let of = |name: &str| queues.iter().find(|queue| queue.classes == [name]).expect("a queue");
        assert_eq!((of("realtime").tin, of("realtime").rate), (Tin::Voice, Rate(400_000)));
        assert_eq!((of("bulk").tin, of("bulk").rate), (Tin::Bulk, Rate(100_000)));
        let sum: u64 = queues.iter().map(|queue| queue.rate.0).sum();
        assert!((1_599_000..=1_600_000).contains(&sum), "{sum}");
    }

    #[test]
    fn a_policy_that_fits_no_root_is_refused() {
        let plan = |text: &str| {
            queues(&Policy::parse("test", text, MARK_MASK_DEFAULT).expect("a policy").table, Rate(1_000_000))
        };
        assert!(matches!(plan("[class.web]"), Err(ShapeError::NoPriorities)));
        let two = "[class.web]\npriority = \"1:1\"\n[class.bulk]\npriority = \"2:1\"";
        assert!(matches!(plan(two), Err(ShapeError::Majors(2, 1) | ShapeError::Majors(1, 2))));
        let shared = "[class.web]\npriority = \"1:1\"\n[class.bulk]\npriority = \"1:1\"\ndscp = \"LE\"";
        let (_, queues) = plan(shared).expect("one queue for both");
        assert_eq!((queues.len(), queues[0].tin), (2, Tin::BestEffort));
    }
}
