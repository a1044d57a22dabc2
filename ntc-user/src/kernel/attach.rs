//! Attaching the programs to interfaces.

use std::{
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
};

use aya::{
    Ebpf,
    maps::HashMap,
    programs::{ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode, links::FdLink, tc},
    util::KernelVersion,
};
use ntc_common::policy::interface_flags;
use rustix::net::{AddressFamily, SocketType, netdevice::name_to_index};

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
        let flags = interface_flags(interface)?;
        announce(ebpf, &interface.name, flags)?;
        add_clsact(&interface.name);
        // Egress first: a packet that comes in is marked only once its way out is ready. Also where only
        // capture is asked for: what this host sends itself passes no XDP.
        attach_tc(ebpf, TC_EGRESS, interface, TcAttachType::Egress, stay)?;
        if interface.enforce || flags & interface_flags::CAPTURED_AT_TC != 0 {
            attach_tc(ebpf, TC_INGRESS, interface, TcAttachType::Ingress, stay)?;
        }
        if interface.capture && flags & interface_flags::CAPTURED_AT_TC == 0 {
            attach_xdp(ebpf, interface, stay)?;
        }
    }
    Ok(())
}

/// What the programs are to do on an interface.
fn interface_flags(interface: &Interface) -> Result<u32, KernelError> {
    let mut flags = 0;
    if interface.enforce {
        flags |= interface_flags::ENFORCED;
    }
    let hardware = hardware_type(&interface.name)?;
    if hardware == libc::ARPHRD_LOOPBACK && interface.capture {
        return Err(KernelError::Loopback(interface.name.clone()));
    }
    let link_header = matches!(hardware, libc::ARPHRD_ETHER | libc::ARPHRD_LOOPBACK);
    if !link_header {
        flags |= interface_flags::NO_LINK_HEADER;
    }
    if interface.capture {
        flags |= interface_flags::CAPTURED;
        // The XDP program reads Ethernet; the tc programs are told per interface.
        if !link_header {
            flags |= interface_flags::CAPTURED_AT_TC;
        }
    }
    Ok(flags)
}

/// Before Linux 6.6 tc programs hang on the clsact qdisc; later ones (TCX) need none.
fn add_clsact(interface: &str) {
    if KernelVersion::current().is_ok_and(|kernel| kernel < KernelVersion::new(6, 6, 0)) {
        // There already: as good. Any other failure shows at the attach.
        let _ = tc::qdisc_add_clsact(interface);
    }
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

/// Tells the programs what they are to do on an interface.
fn announce(ebpf: &mut Ebpf, interface: &str, flags: u32) -> Result<(), KernelError> {
    let map = ebpf.map_mut("INTERFACES").ok_or(KernelError::Missing("INTERFACES"))?;
    let mut map = HashMap::<_, u32, u32>::try_from(map).map_err(KernelError::map("INTERFACES"))?;
    map.insert(if_index(interface)?, flags, 0).map_err(KernelError::map("INTERFACES"))
}

/// The index of an interface.
///
/// # Errors
/// There is none of that name.
pub fn if_index(name: &str) -> Result<u32, KernelError> {
    // By ioctl, not by /sys: that shows the network namespace in which it was mounted.
    control_socket()
        .and_then(|socket| name_to_index(&socket, name))
        .map_err(|_| KernelError::NoInterface(name.to_owned()))
}

/// The interface's `ARPHRD_` number: tells whether its packets begin with an Ethernet header, or with the IP header
/// (tun, WireGuard, PPP).
fn hardware_type(name: &str) -> Result<u16, KernelError> {
    let none = || KernelError::NoInterface(name.to_owned());
    let socket = control_socket().map_err(|_| none())?;
    // SAFETY: all zero is an ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(none());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: the request is an ifreq with a terminated name, and lives for the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFHWADDR, &raw mut request) } != 0 {
        return Err(none());
    }
    // SAFETY: SIOCGIFHWADDR filled this member.
    Ok(unsafe { request.ifr_ifru.ifru_hwaddr.sa_family })
}

fn control_socket() -> rustix::io::Result<OwnedFd> {
    rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None)
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
