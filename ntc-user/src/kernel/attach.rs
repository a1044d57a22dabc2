//! Attaching the programs to interfaces.

use std::path::Path;

use aya::{
    Ebpf,
    maps::HashMap,
    programs::{ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode, links::FdLink},
};
use ntc_common::policy::interface_flags;

use super::{
    KernelError,
    load::{TC_EGRESS, TC_INGRESS, XDP, program},
    pins::PinDirectory,
};

/// An interface and what ntc does there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Packets are accounted here.
    pub capture: bool,
    /// Labels act here.
    pub enforce: bool,
}

/// Merges `--iface`, `--capture` and `--enforce` into one list without repetition.
pub fn interfaces(both: &[String], capture: &[String], enforce: &[String]) -> Vec<Interface> {
    let mut out: Vec<Interface> = Vec::new();
    let mut add = |name: &String, captures: bool, enforces: bool| {
        if let Some(known) = out.iter_mut().find(|known| known.name == *name) {
            known.capture |= captures;
            known.enforce |= enforces;
        } else {
            out.push(Interface { name: name.clone(), capture: captures, enforce: enforces });
        }
    };
    both.iter().for_each(|name| add(name, true, true));
    capture.iter().for_each(|name| add(name, true, false));
    enforce.iter().for_each(|name| add(name, false, true));
    out
}

/// Attaches the programs. They leave with the `Ebpf`, unless `stay` says where to pin their links.
///
/// # Errors
/// Which interface refused which program, and why.
pub fn attach(
    ebpf: &mut Ebpf,
    interfaces: &[Interface],
    stay: Option<&PinDirectory>,
) -> Result<(), KernelError> {
    for interface in interfaces {
        announce(ebpf, interface)?;
        // Egress first: a packet that comes in is marked only once its way out is ready. Also where only
        // capture is asked for: what this host sends itself passes no XDP.
        attach_tc(ebpf, TC_EGRESS, interface, TcAttachType::Egress, stay)?;
        if interface.enforce {
            attach_tc(ebpf, TC_INGRESS, interface, TcAttachType::Ingress, stay)?;
        }
        if interface.capture {
            attach_xdp(ebpf, interface, stay)?;
        }
    }
    Ok(())
}

fn attach_xdp(
    ebpf: &mut Ebpf,
    interface: &Interface,
    stay: Option<&PinDirectory>,
) -> Result<(), KernelError> {
    let failed = failed(interface, XDP);
    let program = program::<Xdp>(ebpf, XDP)?;
    let id = program.attach(&interface.name, XdpMode::Default).map_err(failed)?;
    if let Some(pins) = stay {
        let link = program.take_link(id).map_err(failed)?;
        pin(FdLink::try_from(link).ok(), &pins.link(XDP, &interface.name))?;
    }
    Ok(())
}

fn attach_tc(
    ebpf: &mut Ebpf,
    name: &'static str,
    interface: &Interface,
    direction: TcAttachType,
    stay: Option<&PinDirectory>,
) -> Result<(), KernelError> {
    let failed = failed(interface, name);
    let program = program::<SchedClassifier>(ebpf, name)?;
    let id = program.attach(&interface.name, direction).map_err(failed)?;
    if let Some(pins) = stay {
        let link = program.take_link(id).map_err(failed)?;
        pin(FdLink::try_from(link).ok(), &pins.link(name, &interface.name))?;
    }
    Ok(())
}

fn failed<'a>(
    interface: &'a Interface,
    program: &'static str,
) -> impl Fn(ProgramError) -> KernelError + Copy + use<'a> {
    move |source| KernelError::Attach { interface: interface.name.clone(), program, source: Box::new(source) }
}

fn pin(link: Option<FdLink>, path: &Path) -> Result<(), KernelError> {
    let failed = |source| KernelError::PinDirectory { path: path.display().to_string(), source };
    // Attachments by netlink stay by themselves.
    let Some(link) = link else { return Ok(()) };
    link.pin(path).map(drop).map_err(|error| failed(std::io::Error::other(error)))
}

/// Tells the programs what the interface is to ntc.
fn announce(ebpf: &mut Ebpf, interface: &Interface) -> Result<(), KernelError> {
    let index = if_index(&interface.name)?;
    let mut flags = 0;
    if interface.capture {
        flags |= interface_flags::CAPTURED;
    }
    if interface.enforce {
        flags |= interface_flags::ENFORCED;
    }
    let map = ebpf.map_mut("INTERFACES").ok_or(KernelError::Missing("INTERFACES"))?;
    let mut map = HashMap::<_, u32, u32>::try_from(map).map_err(KernelError::map("INTERFACES"))?;
    map.insert(index, flags, 0).map_err(KernelError::map("INTERFACES"))
}

/// The index of an interface.
///
/// # Errors
/// There is none of that name.
pub fn if_index(name: &str) -> Result<u32, KernelError> {
    // By ioctl, not by /sys: that shows the network namespace in which it was mounted.
    rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)
        .and_then(|socket| rustix::net::netdevice::name_to_index(&socket, name))
        .map_err(|_| KernelError::NoInterface(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_interfaces_merge() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let merged = interfaces(&names(&["a"]), &names(&["b", "a"]), &names(&["b", "c"]));
        let of = |name: &str, capture, enforce| Interface { name: name.into(), capture, enforce };
        assert_eq!(merged, [of("a", true, true), of("b", true, true), of("c", false, true)]);
    }
}
