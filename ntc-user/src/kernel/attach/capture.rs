//! Where packets that come in are captured.
//!
//! Native XDP sees frames as they were on the wire. Generic XDP runs behind GRO and sees merged packets without the
//! metadata that says of how many; tc ingress has that. So generic XDP is for devices that merge nothing.

use std::io;

use aya::{
    Ebpf,
    programs::{ProgramError, Xdp, XdpMode, links::FdLink, xdp::XdpError},
};
use clap::ValueEnum;

use super::{Attachment, Options, offloads};
use crate::kernel::{
    KernelError,
    load::{XDP, program},
    netlink::links::Link,
    pins,
};

/// `--hook`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// Native XDP, else generic XDP where nothing merges packets, else tc ingress
    #[default]
    Auto,
    /// Native XDP or nothing
    Native,
    /// Generic XDP or nothing; packets that GRO merged count as one
    Generic,
    /// tc ingress
    Tc,
}

/// Where packets are captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the driver.
    NativeXdp,
    /// In the kernel's stack, before tc.
    GenericXdp,
    /// At tc ingress.
    Tc,
}

impl Place {
    /// As output has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NativeXdp => "native XDP",
            Self::GenericXdp => "generic XDP",
            Self::Tc => "tc ingress",
        }
    }
}

/// Attaches at XDP where that is the place to be.
///
/// # Errors
/// The one hook that was asked for is not to be had.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    link: &Link,
    options: &Options,
) -> Result<(Place, Option<Attachment>, String), KernelError> {
    let mut at = |mode| attach_xdp(ebpf, link, mode, options);
    match options.hook {
        Choice::Tc => Ok((Place::Tc, None, "--hook tc".into())),
        Choice::Native | Choice::Generic if !link.is_ethernet() => Err(KernelError::NoXdp(link.name.clone())),
        Choice::Native => Ok((Place::NativeXdp, Some(at(XdpMode::Driver)?), "--hook native".into())),
        Choice::Generic => Ok((Place::GenericXdp, Some(at(XdpMode::Skb)?), "--hook generic".into())),
        Choice::Auto if !link.is_ethernet() => {
            Ok((Place::Tc, None, "packets begin with the IP header, where XDP reads Ethernet".into()))
        }
        Choice::Auto => {
            let native = match at(XdpMode::Driver) {
                Ok(attached) => return Ok((Place::NativeXdp, Some(attached), "the driver runs XDP".into())),
                Err(error) => refusal(&error, link.xdp)?,
            };
            if native.taken {
                return Ok((Place::Tc, None, native.why));
            }
            let why = match merges(link) {
                Some(merges) => format!("{}; {merges}", native.why),
                None => match at(XdpMode::Skb) {
                    Ok(attached) => {
                        let why = format!("{}; nothing merges packets", native.why);
                        return Ok((Place::GenericXdp, Some(attached), why));
                    }
                    Err(error) => format!("{}; {}", native.why, refusal(&error, link.xdp)?.why),
                },
            };
            Ok((Place::Tc, None, why))
        }
    }
}

/// Why generic XDP would see merged packets, if so.
fn merges(link: &Link) -> Option<String> {
    if !link.kind.is_empty() {
        // What a veth's peer, a bridge's port or a VLAN's card hands on may be merged whatever this device is set to.
        return Some(format!("generic XDP may see merged packets on a {} device", link.kind));
    }
    match offloads::merging(&link.name) {
        Ok(on) if on.is_empty() => None,
        Ok(on) => Some(format!("generic XDP would see merged packets ({})", on.join(", "))),
        Err(error) => Some(format!("whether packets are merged cannot be asked ({error})")),
    }
}

/// Why XDP was refused.
struct Refusal {
    /// Another program is there, of whatever mode.
    taken: bool,
    why: String,
}

/// What the kernel's answer means; passes on what is no refusal of XDP.
fn refusal(error: &KernelError, there: Option<u32>) -> Result<Refusal, KernelError> {
    let number = match error {
        KernelError::Attach { source, .. } => number(source),
        _ => None,
    };
    let taken = matches!(number, Some(libc::EBUSY | libc::EEXIST));
    let why = match (number, there) {
        (Some(libc::EBUSY | libc::EEXIST), Some(id)) => format!("another XDP program (id {id}) is there"),
        (Some(libc::EBUSY | libc::EEXIST), None) => "another XDP program is there".into(),
        (Some(libc::EOPNOTSUPP), _) => "the driver has no native XDP, or not as it is set up".into(),
        (Some(number), _) => format!("XDP: {}", io::Error::from_raw_os_error(number)),
        (None, _) => format!("XDP: {error}"),
    };
    Ok(Refusal { taken, why })
}

/// The system's number for what went wrong.
pub(super) fn number(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        ProgramError::XdpError(XdpError::NetlinkError(error)) => error.raw_os_error(),
        _ => None,
    }
}

fn attach_xdp(
    ebpf: &mut Ebpf,
    link: &Link,
    mode: XdpMode,
    options: &Options,
) -> Result<Attachment, KernelError> {
    let failed =
        |source| KernelError::Attach { interface: link.name.clone(), program: XDP, source: Box::new(source) };
    let program = program::<Xdp>(ebpf, XDP)?;
    let id = program.attach_to_if_index(link.index, mode).map_err(failed)?;
    let attached = program.take_link(id).map_err(failed)?;
    if !options.stay {
        return Ok(Attachment::Xdp { _link: attached });
    }
    let path = pins::link(&options.pin_dir, XDP, link.index);
    let attached = FdLink::try_from(attached).map_err(|_| KernelError::CannotStay(link.name.clone()))?;
    Attachment::pin(attached, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_devices_may_hand_over_merged_packets() {
        let bridge = Link { kind: "bridge".into(), name: "br0".into(), ..Link::default() };
        assert!(merges(&bridge).expect("a reason").contains("bridge"));
        // Loopback is the one device that is everywhere: GRO is on.
        let card = Link { name: "lo".into(), ..Link::default() };
        assert!(merges(&card).expect("a reason").contains("GRO"));
        let none = Link { name: "no-such-device".into(), ..Link::default() };
        assert!(merges(&none).expect("a reason").contains("cannot be asked"));
    }
}
