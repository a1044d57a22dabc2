//! Queues that fit a policy: an HTB with a class for each of the policy's priorities, or CAKE, which sorts by the code
//! points that the policy writes.
//!
//! What each class is worth follows from its code point, by the four tins of CAKE's `diffserv4`. In HTB a class always
//! has its part of its tin's share, and borrows what others leave: voice first, bulk last. Video and best effort borrow
//! alike, by their shares: what ntc leaves alone does not have to wait for what it has labelled.

mod rate;
mod show;
mod state;
mod tin;

use std::{collections::BTreeMap, io};

use ntc_common::{
    limits::MAX_CLASSES,
    policy::{ExistingDscp, PolicyTable},
};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::state::State;
pub use self::{rate::Rate, tin::Tin};

use crate::{
    kernel::netlink::{
        links::links,
        qdiscs::{self, HtbClass, Qdisc, ROOT},
    },
    policy::class_name,
};

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
    /// CAKE was asked for where there is none.
    #[error("interface {0}: this kernel has no CAKE (sch_cake); without --cake ntc sets HTB up")]
    NoCake(String),
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

/// What is put at the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A class for each priority of the policy.
    Htb,
    /// CAKE with the tins of `diffserv4`.
    Cake,
}

/// What `--cake` asks for.
pub const fn kind(cake: bool) -> Kind {
    if cake { Kind::Cake } else { Kind::Htb }
}

impl Kind {
    /// As the kernel names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Htb => "htb",
            Self::Cake => "cake",
        }
    }
}

/// A queue of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Queue {
    /// Its HTB class, or the priority that picks its tin.
    pub minor: u16,
    /// Classes of the policy that it takes; none for what is left alone.
    pub classes: Vec<String>,
    /// What it is worth.
    pub tin: Tin,
    /// What it always has; in CAKE, up to what it goes before the others.
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
    pub kind: Kind,
    /// Of the root.
    pub major: u16,
    /// Of all together.
    pub rate: Rate,
    /// By minor number.
    pub queues: Vec<Queue>,
    /// What is in the place now.
    pub found: Found,
}

/// Plans queues for an interface; changes nothing.
///
/// # Errors
/// No such interface, or a policy that fits no HTB.
pub fn plan(interface: &str, kind: Kind, rate: Rate, table: &PolicyTable) -> Result<Plan, ShapeError> {
    let index = index(interface)?;
    let (major, queues) = match kind {
        Kind::Htb => queues(table, rate)?,
        Kind::Cake => tins(table, rate),
    };
    Ok(Plan {
        interface: interface.into(),
        index,
        kind,
        major,
        rate,
        queues,
        found: found(interface, index)?,
    })
}

/// CAKE's major number, and its tins with the classes that come there.
fn tins(table: &PolicyTable, rate: Rate) -> (u16, Vec<Queue>) {
    let actions = || (0..MAX_CLASSES as u8).zip(&table.classes).filter(|(_, action)| action.drop == 0);
    let major = actions().map(|(_, action)| action.priority >> 16).find(|major| *major != 0).unwrap_or(1);
    let queue = |tin: Tin| {
        let comes_here = |(class, action): (u8, &_)| {
            let ntc_common::policy::ClassAction { priority, dscp, existing_dscp, .. } = *action;
            let picked = Tin::ALL.into_iter().find(|tin| priority == major << 16 | u32::from(tin.minor()));
            let written = if existing_dscp == ExistingDscp::Never as u8 { 0 } else { dscp };
            let name = class_name(table, class)?;
            (picked.unwrap_or(Tin::of(written)) == tin).then_some(name)
        };
        Queue {
            minor: tin.minor(),
            classes: actions().filter_map(comes_here).collect(),
            tin,
            rate: Rate(rate.0 * tin.goes_first() / 16),
        }
    };
    (major as u16, Tin::ALL.map(queue).into())
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
            Found::Ours => State::of(self.index).and_then(|state| state.before),
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
        State { kind: self.kind, major: self.major, before: before.clone() }.note(self.index)?;
        let made = match self.kind {
            Kind::Htb => self.make(),
            Kind::Cake => self.make_cake(),
        };
        if made.is_err() {
            // Whatever became of it, what was there comes back.
            let _ = restore(self.index, before.as_ref());
            State::forget(self.index);
        }
        made.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if self.kind == Kind::Cake => ShapeError::NoCake(self.interface.clone()),
            _ => failed("cannot set the queues up")(error),
        })
    }

    fn make_cake(&self) -> io::Result<()> {
        if self.found == Found::Ours {
            qdiscs::remove_root(self.index)?;
        }
        qdiscs::put(self.index, ROOT, &qdiscs::cake(u32::from(self.major) << 16, self.rate.0))
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
                &class(queue.minor, handle(TRUNK), queue.rate.0, queue.tin.borrows()),
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
        let before = State::of(index).and_then(|state| state.before);
        restore(index, before.as_ref()).map_err(|source| ShapeError::Kernel {
            interface: interface.into(),
            what: "cannot restore what was there",
            source,
        })?;
    }
    State::forget(index);
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
    let ours = State::of(index).is_some_and(|state| state.is_of(&root));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;
    use ntc_common::policy::MARK_MASK_DEFAULT;

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
    fn cake_s_tins_take_classes_by_code_point_and_by_priority() {
        let of = |text: &str, tin: Tin| {
            let policy = Policy::parse("test", text, MARK_MASK_DEFAULT).expect("a policy");
            let (major, queues) = tins(&policy.table, Rate(1_600_000));
            let queue = queues.into_iter().find(|queue| queue.tin == tin).expect("a tin");
            (major, queue.minor, queue.classes.join(" "), queue.rate.0)
        };
        let text = "[class.realtime]\ndscp = \"EF\"\n[class.bulk]\ndscp = \"LE\"\n[class.web]\ndscp = \"AF21\"\n\
            existing_dscp = \"never\"\n";
        assert_eq!(of(text, Tin::Voice), (1, 4, "realtime".into(), 400_000));
        assert_eq!(of(text, Tin::Bulk), (1, 1, "bulk".into(), 100_000));
        assert_eq!(of(text, Tin::BestEffort), (1, 2, "web".into(), 1_600_000));
        let text = "[class.bulk]\ndscp = \"LE\"\npriority = \"7:4\"\n";
        assert_eq!(
            of(text, Tin::Voice),
            (7, 4, "bulk".into(), 400_000),
            "a priority of CAKE's picks the tin"
        );
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
