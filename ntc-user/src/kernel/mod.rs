//! The kernel side: loading, attaching and pinning ntc's programs, and its maps from outside.

pub mod attach;
pub mod batch;
pub mod flow_table;
pub mod handover;
pub mod heartbeat;
pub mod leftovers;
pub mod load;
#[cfg(debug_assertions)]
pub mod log;
pub mod netlink;
pub mod owner;
pub mod pins;
pub mod policy;
pub mod privileges;
pub mod tables;

use thiserror::Error;

/// Something the kernel refused, or that is not as this ntc left it.
#[derive(Debug, Error)]
pub enum KernelError {
    /// Loading failed.
    #[error("cannot load ntc's programs: {0}{hint}", hint = privilege_hint())]
    Load(#[source] Box<aya::EbpfError>),
    /// A program was refused.
    #[error("program {program}: {source}{hint}", hint = privilege_hint())]
    Program {
        /// Which one.
        program: &'static str,
        /// What the kernel said.
        source: Box<aya::programs::ProgramError>,
    },
    /// A program could not be attached.
    #[error("interface {interface}: cannot attach {program}: {source}")]
    Attach {
        /// Where.
        interface: String,
        /// Which one.
        program: &'static str,
        /// What the kernel said.
        source: Box<aya::programs::ProgramError>,
    },
    /// No such interface.
    #[error(
        "interface {0}: there is none of that name (`ip link` lists them); if it comes later, give \
         --wait-for-interfaces or a pattern"
    )]
    NoInterface(String),
    /// No name that an interface could have.
    #[error("interface {0}: not a pattern: {1}")]
    Pattern(String, String),
    /// XDP was asked for where packets have no Ethernet header.
    #[error(
        "interface {0}: its packets begin with the IP header, where ntc's XDP program reads Ethernet; --hook auto or \
         --hook tc captures there"
    )]
    NoXdp(String),
    /// The kernel gave no link that could be pinned.
    #[error("interface {0}: this kernel cannot keep programs attached without their agent: leave out --stay")]
    CannotStay(String),
    /// Interfaces cannot be listed or followed.
    #[error("interfaces cannot be asked of the kernel: {0}")]
    Netlink(std::io::Error),
    /// Packets pass both hooks there.
    #[error("interface {0}: ntc does not capture on loopback, where each packet goes out and comes in again")]
    Loopback(String),
    /// A map could not be used.
    #[error("map {map}: {source}")]
    Map {
        /// Which one.
        map: &'static str,
        /// What went wrong.
        source: Box<aya::maps::MapError>,
    },
    /// A map could not be mapped into memory.
    #[error("map {map}: cannot be mapped into memory: {source}{hint}", hint = privilege_hint())]
    Mapping {
        /// Which one.
        map: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// No random numbers.
    #[error("the kernel gives no random numbers for the flow table's hash: {0}")]
    Random(std::io::Error),
    /// The object lacks a part that this agent needs: they are of different builds.
    #[error("the BPF object has no {0}: object and agent are of different builds")]
    Missing(&'static str),
    /// Pins of another layout.
    #[error(
        "{path}: pinned with {found}, this ntc needs {needed}. `ntc detach` removes what an older ntc left; \
         its labels are lost"
    )]
    PinMismatch {
        /// Which pin.
        path: String,
        /// As it is.
        found: String,
        /// As it should be.
        needed: String,
    },
    /// Another agent works with the same pins.
    #[error("{path}: another ntc agent{owner} is running on these pins; stop it first, or give --pin-dir")]
    AgentRunning {
        /// Which pins.
        path: String,
        /// Who it is.
        owner: owner::Named,
    },
    /// Another agent works on the interface, with pins of its own.
    #[error("interface {interface}: another ntc agent{owner} works here; one agent an interface")]
    InterfaceTaken {
        /// Where.
        interface: String,
        /// Who it is.
        owner: owner::Named,
    },
    /// It cannot be told whether another agent works on the interface.
    #[error("interface {interface}: cannot be claimed: {source}")]
    Claim {
        /// Where.
        interface: String,
        /// Why.
        source: std::io::Error,
    },
    /// Another version's programs are still attached.
    #[error(
        "{0}: an ntc of another version left its programs attached; `ntc detach` removes them, with its labels and \
         counters"
    )]
    OtherVersion(String),
    /// No agent has run.
    #[error("{0}: no pinned maps there; is `ntc run` running (and with the same --pin-dir)?")]
    NoPins(String),
    /// The pin directory could not be made or read.
    #[error("{path}: {source}{hint}", hint = privilege_hint())]
    PinDirectory {
        /// Which one.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

fn privilege_hint() -> String {
    let missing = privileges::missing();
    if missing.is_empty() {
        return String::new();
    }
    format!(
        " (ntc needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON; this process lacks {}; see `ntc doctor`)",
        missing.join(", ")
    )
}

impl KernelError {
    /// For `map_err` on a map.
    pub(crate) fn map(map: &'static str) -> impl FnOnce(aya::maps::MapError) -> Self {
        move |source| Self::Map { map, source: Box::new(source) }
    }
}
