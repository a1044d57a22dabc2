//! All interfaces together: programs are attached where the user asked for it, and follow interfaces that come, go and
//! change their names.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use aya::{
    Ebpf,
    maps::{HashMap, MapData},
};
use ntc_common::policy::interface_flags as flags;

use super::{
    Attachment, Hook, Options,
    capture::{self, Place},
    requests::{Duties, Requests},
    stack,
    tc::{self, Means},
    witness::{Program, Verdict, Witness},
};
use crate::kernel::{
    KernelError,
    load::{TC_EGRESS, TC_INGRESS},
    netlink::{
        filters,
        links::{Link, Snapshot},
    },
    owner::Claim,
    pins,
};

/// What became of an interface.
#[derive(Clone, Debug)]
pub enum Change {
    /// Programs were attached.
    Attached(Hook),
    /// It has gone, or nothing is to be done on it any more.
    Detached(Hook),
    /// It has another name; the old one.
    Renamed(Hook, String),
    /// Programs could not be attached; they are tried again.
    Failed {
        /// The interface's name.
        interface: String,
        /// Its index.
        index: u32,
        /// Why.
        error: String,
    },
    /// A program was found to run, or not to run while packets pass.
    Tested(Hook, Program, Verdict),
}

/// An interface with programs on it.
#[derive(Debug)]
struct Attached {
    hook: Hook,
    duties: Duties,
    /// It captures itself, not by devices below.
    captures: bool,
    flags: u32,
    means: Means,
    programs: Vec<Program>,
    attachments: Vec<Attachment>,
    _claim: Claim,
}

/// ntc's programs on all interfaces. Ends with them, unless they are to stay.
pub struct Hooks {
    requests: Requests,
    options: Options,
    attached: BTreeMap<u32, Attached>,
    /// As they stand in `INTERFACES`.
    written: BTreeMap<u32, u32>,
    interfaces: HashMap<MapData, u32, u32>,
    failed: BTreeMap<u32, String>,
    partly: BTreeSet<u32>,
    witness: Witness,
    periods: u64,
}

impl Hooks {
    /// Attaches wherever it is asked for.
    ///
    /// # Errors
    /// An interface that is named is not there or refuses a program; those that a pattern picked may refuse.
    pub fn start(
        ebpf: &mut Ebpf,
        requests: Requests,
        options: Options,
        links: &[Link],
    ) -> Result<(Self, Vec<Change>), KernelError> {
        requests.check(links, options.may_come_later)?;
        let interfaces = HashMap::try_from(pins::open(&options.pin_dir, "INTERFACES")?)
            .map_err(KernelError::map("INTERFACES"))?;
        let mut hooks = Self {
            requests,
            options,
            attached: BTreeMap::new(),
            written: BTreeMap::new(),
            interfaces,
            failed: BTreeMap::new(),
            partly: BTreeSet::new(),
            witness: Witness::open(ebpf)?,
            periods: 0,
        };
        let (changes, refused) = hooks.follow_links(ebpf, links, true);
        match refused {
            Some(error) => {
                for (index, attached) in std::mem::take(&mut hooks.attached) {
                    hooks.detach(index, attached);
                }
                Err(error)
            }
            None => Ok((hooks, changes)),
        }
    }

    /// Where programs are now.
    pub fn list(&self) -> Vec<Hook> {
        self.attached.values().map(|attached| attached.hook.clone()).collect()
    }

    /// Follows interfaces, and looks whether programs run.
    pub fn follow(&mut self, ebpf: &mut Ebpf, snapshot: &Snapshot) -> Vec<Change> {
        let period = snapshot.periods != self.periods;
        self.periods = snapshot.periods;
        // What was refused is tried again, but not with every piece of news, of which an attempt makes some itself.
        let (mut changes, _) = self.follow_links(ebpf, &snapshot.links, period);
        if period {
            changes.extend(self.test(&snapshot.links));
        }
        changes
    }

    /// The changes, and what kept a program from an interface that was asked for by its name.
    fn follow_links(
        &mut self,
        ebpf: &mut Ebpf,
        links: &[Link],
        retry: bool,
    ) -> (Vec<Change>, Option<KernelError>) {
        let (mut changes, mut refused) = (Vec::new(), None);
        let by_index: BTreeMap<u32, &Link> = links.iter().map(|link| (link.index, link)).collect();
        self.failed.retain(|index, _| by_index.contains_key(index));
        for (index, attached) in &mut self.attached {
            let name = by_index.get(index).map(|link| &link.name);
            if let Some(name) = name.filter(|name| **name != attached.hook.interface) {
                let old = std::mem::replace(&mut attached.hook.interface, name.clone());
                changes.push(Change::Renamed(attached.hook.clone(), old));
            }
        }
        let wanted: BTreeMap<u32, Duties> =
            links.iter().map(|link| (link.index, self.duties(link))).collect();
        let captured = wanted.iter().filter(|(_, duties)| duties.capture).map(|(index, _)| *index).collect();
        let above = stack::above(links, &captured);
        let fits = |index: &u32, attached: &Attached| {
            attached.captures == (attached.duties.capture && !above.contains(index))
        };
        let (leave, stay): (BTreeMap<_, _>, _) = std::mem::take(&mut self.attached)
            .into_iter()
            .partition(|(index, attached)| !by_index.contains_key(index) || !fits(index, attached));
        self.attached = stay;
        for (index, attached) in leave {
            changes.push(Change::Detached(attached.hook.clone()));
            self.detach(index, attached);
        }
        for link in links {
            let duties = wanted.get(&link.index).copied().unwrap_or_default();
            if !duties.any() || self.attached.contains_key(&link.index) {
                continue;
            }
            if self.failed.contains_key(&link.index) && !retry {
                continue;
            }
            match self.attach(ebpf, link, duties, above.contains(&link.index)) {
                Ok(attached) => {
                    self.failed.remove(&link.index);
                    changes.push(Change::Attached(attached.hook.clone()));
                    self.attached.insert(link.index, attached);
                }
                Err(error) => {
                    let said = error.to_string();
                    if self.failed.insert(link.index, said.clone()).as_ref() != Some(&said) {
                        tracing::warn!(%error, "not attached; tried again");
                        let (interface, index) = (link.name.clone(), link.index);
                        changes.push(Change::Failed { interface, index, error: said });
                    }
                    if self.requests.names(link) {
                        refused.get_or_insert(error);
                    }
                }
            }
        }
        if let Err(error) = self.tell(links) {
            tracing::error!(%error, "what stands on captured interfaces is not known to the programs");
            refused.get_or_insert(error);
        }
        (changes, refused)
    }

    /// What is to be done on an interface. Once attached, its name no longer matters.
    fn duties(&self, link: &Link) -> Duties {
        match self.attached.get(&link.index) {
            Some(attached) => attached.duties,
            None => self.requests.duties(link),
        }
    }

    fn attach(
        &mut self,
        ebpf: &mut Ebpf,
        link: &Link,
        duties: Duties,
        below: bool,
    ) -> Result<Attached, KernelError> {
        let claim = Claim::take(&link.name, link.index)?;
        let captures = duties.capture && !below;
        let mut flags = 0;
        for (on, flag) in [
            (duties.enforce, flags::ENFORCED),
            (captures, flags::CAPTURED),
            (!link.is_ethernet(), flags::NO_LINK_HEADER),
            (duties.capture && below, flags::CAPTURED_BELOW),
        ] {
            flags |= if on { flag } else { 0 };
        }
        self.write(link.index, flags)?;
        let had_clsact = tc::has_clsact(link);
        let mut attachments = Vec::new();
        match self.attach_programs(ebpf, link, duties, flags, claim, &mut attachments) {
            Ok(attached) => Ok(Attached { attachments, ..attached }),
            Err(error) => {
                attachments.into_iter().for_each(Attachment::end);
                // Made for a filter that could not be attached, or was detached again.
                if had_clsact == Some(false) && tc::has_clsact(link) == Some(true) {
                    leave_clsact(link.index, Means::Clsact);
                }
                self.forget(link.index);
                Err(error)
            }
        }
    }

    /// What was attached is in `attachments`, also where the next could not be.
    fn attach_programs(
        &mut self,
        ebpf: &mut Ebpf,
        link: &Link,
        duties: Duties,
        mut flags: u32,
        claim: Claim,
        attachments: &mut Vec<Attachment>,
    ) -> Result<Attached, KernelError> {
        let options = &self.options;
        let captures = flags & flags::CAPTURED != 0;
        // Egress first: a packet that comes in is marked only once its way out is ready. Also where only capture is
        // asked for: what this host sends itself passes no XDP.
        let (egress, means, mut tc_why) = tc::attach(ebpf, TC_EGRESS, link, options, None)?;
        attachments.push(egress);
        let mut programs = vec![Program::TcEgress];
        let mut ingress = duties.enforce;
        let (place, why) = if captures {
            let (place, xdp, why) = capture::attach(ebpf, link, options)?;
            if let Some(xdp) = xdp {
                attachments.push(xdp);
                programs.push(Program::Xdp);
            }
            ingress |= place == Place::Tc;
            flags |= if place == Place::Tc { flags::CAPTURED_AT_TC } else { 0 };
            (Some(place.name()), format!("{}: {why}; ", place.name()))
        } else if duties.capture {
            (Some("below"), "below: devices that it stands on are captured; ".into())
        } else {
            (None, String::new())
        };
        if ingress {
            let before = Some((means, tc_why.clone()));
            let (ingress, ..) = tc::attach(ebpf, TC_INGRESS, link, options, before)?;
            attachments.push(ingress);
            programs.push(Program::TcIngress);
        }
        if let Some(others) = tc::asked_before_clsact(link).filter(|_| means == Means::Clsact) {
            tracing::warn!(interface = link.name, "clsact: {others}");
            tc_why = format!("{tc_why}; {others}");
        }
        self.write(link.index, flags)?;
        let hook = Hook {
            interface: link.name.clone(),
            index: link.index,
            capture: place,
            enforce: duties.enforce.then_some(means.name()),
            why: format!("{why}{}: {tc_why}", means.name()),
        };
        Ok(Attached {
            hook,
            duties,
            captures,
            flags,
            means,
            programs,
            attachments: Vec::new(),
            _claim: claim,
        })
    }

    fn detach(&mut self, index: u32, attached: Attached) {
        attached.attachments.into_iter().for_each(Attachment::end);
        leave_clsact(index, attached.means);
        self.forget(index);
    }

    /// Tells the programs which devices stand on captured ones, and forgets those that have gone.
    fn tell(&mut self, links: &[Link]) -> Result<(), KernelError> {
        let capturing = self.attached.iter().filter(|(_, attached)| attached.captures);
        let capturing: BTreeSet<u32> = capturing.map(|(index, _)| *index).collect();
        let above = stack::above(links, &capturing);
        let mut wanted: BTreeMap<u32, u32> =
            self.attached.iter().map(|(index, attached)| (*index, attached.flags)).collect();
        for index in &above {
            *wanted.entry(*index).or_default() |= flags::CAPTURED_BELOW;
            self.warn_of_other_ports(links, *index, &capturing, &above);
        }
        let gone: Vec<u32> =
            self.written.keys().filter(|index| !wanted.contains_key(index)).copied().collect();
        gone.into_iter().for_each(|index| self.forget(index));
        wanted.into_iter().try_for_each(|(index, flags)| self.write(index, flags))
    }

    /// Of a bridge, all ports should be captured, or none.
    fn warn_of_other_ports(
        &mut self,
        links: &[Link],
        master: u32,
        capturing: &BTreeSet<u32>,
        above: &BTreeSet<u32>,
    ) {
        let known: BTreeSet<u32> = capturing.union(above).copied().collect();
        let others = stack::ports_beside(links, master, &known);
        if others.is_empty() {
            self.partly.remove(&master);
        } else if self.partly.insert(master) {
            let bridge = links.iter().find(|link| link.index == master).map(|link| link.name.as_str());
            tracing::warn!(
                bridge,
                ports = others.join(","),
                "what comes in by these ports and is routed on is taken for that of the captured ports, and is not \
                 accounted: capture all ports or the bridge"
            );
        }
    }

    fn write(&mut self, index: u32, flags: u32) -> Result<(), KernelError> {
        if self.written.get(&index) != Some(&flags) {
            self.interfaces.insert(index, flags, 0).map_err(KernelError::map("INTERFACES"))?;
            self.written.insert(index, flags);
        }
        Ok(())
    }

    fn forget(&mut self, index: u32) {
        if self.written.remove(&index).is_some() {
            // There is nothing else that could remove it, and no packet comes from there any more.
            let _ = self.interfaces.remove(&index);
        }
    }

    fn test(&mut self, links: &[Link]) -> Vec<Change> {
        let attached = &self.attached;
        let programs = links.iter().filter_map(|link| Some((link, attached.get(&link.index)?)));
        let programs = programs
            .flat_map(|(link, attached)| attached.programs.iter().map(move |program| (link, *program)));
        match self.witness.look(programs) {
            Ok(verdicts) => verdicts
                .into_iter()
                .filter_map(|(index, program, verdict)| {
                    let hook = attached.get(&index)?.hook.clone();
                    if let Verdict::Silent(packets) = verdict {
                        let program = program.name();
                        tracing::warn!(
                            interface = hook.interface,
                            program,
                            packets,
                            "packets pass, it does not run"
                        );
                    }
                    Some(Change::Tested(hook, program, verdict))
                })
                .collect(),
            Err(error) => {
                tracing::warn!(%error, "whether the programs run is not known");
                Vec::new()
            }
        }
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        for (index, attached) in std::mem::take(&mut self.attached) {
            let Attached { attachments, means, .. } = attached;
            drop(attachments);
            if !self.options.stay {
                leave_clsact(index, means);
            }
        }
    }
}

/// Removes the qdisc that ntc's filters were on, unless there are others'.
fn leave_clsact(index: u32, means: Means) {
    if means == Means::Clsact {
        // An empty one that stays does nothing, and on an interface that has gone there is none.
        let _ = filters::remove_empty_clsact(index);
    }
}

/// Removes what an agent with these pins has left attached in this network namespace.
///
/// # Errors
/// The filters on clsact qdiscs cannot be listed or removed.
pub fn release(pin_dir: &Path) -> Result<usize, KernelError> {
    pins::release_links(pin_dir);
    tc::remove_filters(pin_dir).map_err(KernelError::Netlink)
}
