//! Whose pins, and whose interface: one agent for each.

use std::{
    fmt, fs, io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            fs::MetadataExt as _,
            net::{SocketAddr, UnixListener, UnixStream},
        },
    },
    path::Path,
};

use rustix::{
    fs::{major, minor},
    net::sockopt::socket_peercred,
};

use super::KernelError;

/// A process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its number.
    pub pid: u32,
    /// Its name, as `ps` shows it.
    pub name: String,
}

impl Owner {
    fn of(pid: u32) -> Self {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        Self { pid, name: name.trim().to_owned() }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        if self.name.is_empty() { Ok(()) } else { write!(f, ", {}", self.name) }
    }
}

/// The agent that holds a pin directory; `None` where nobody does, or where the kernel does not show it (another PID
/// namespace).
pub fn of_pins(directory: &Path) -> Option<Owner> {
    let found = fs::metadata(directory).ok()?;
    let file = format!("{:02x}:{:02x}:{}", major(found.dev()), minor(found.dev()), found.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    // `1: FLOCK  ADVISORY  WRITE 4069 00:1d:12345 0 EOF`; who waits has `->` for the kind.
    let pid = locks.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [_, "FLOCK", _, "WRITE", pid, at, ..] if at == file => pid.parse().ok(),
        _ => None,
    });
    pid.filter(|pid| *pid != 0).map(Owner::of)
}

/// The refusal where a live agent has the pins.
pub fn running(directory: &Path) -> KernelError {
    KernelError::AgentRunning { path: directory.display().to_string(), owner: Named(of_pins(directory)) }
}

/// An owner in a message: ` (process 12, ntc)`, or nothing.
#[derive(Clone, Debug)]
pub struct Named(pub Option<Owner>);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |owner| write!(f, " ({owner})"))
    }
}

/// An interface that is this agent's alone, whatever its pin directory: two would account and mark each packet twice.
///
/// A claim is the name of an abstract socket, which belongs to a network namespace, as interfaces do, and which the
/// kernel gives back with the process, however that dies.
#[derive(Debug)]
pub struct Claim {
    _socket: Option<UnixListener>,
}

impl Claim {
    /// Claims an interface.
    ///
    /// # Errors
    /// Another agent has it.
    pub fn take(interface: &str, index: u32) -> Result<Self, KernelError> {
        Ok(Self { _socket: claim(interface, index)? })
    }
}

fn claim(interface: &str, index: u32) -> Result<Option<UnixListener>, KernelError> {
    let failed = |source| KernelError::Claim { interface: interface.to_owned(), source };
    let address = SocketAddr::from_abstract_name(format!("ntc/interface/{index}")).map_err(failed)?;
    match UnixListener::bind_addr(&address) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let holder = UnixStream::connect_addr(&address).and_then(|socket| Ok(socket_peercred(&socket)?));
            if let Ok(holder) = &holder {
                let trusted = holder.uid.is_root() || holder.uid == rustix::process::geteuid();
                if !trusted {
                    // Any process may take the name; only agents' users are believed.
                    tracing::warn!(interface, pid = %holder.pid, "a stranger claims to be an ntc agent here");
                    return Ok(None);
                }
            }
            let owner = holder.ok().map(|holder| Owner::of(holder.pid.as_raw_nonzero().get() as u32));
            Err(KernelError::InterfaceTaken { interface: interface.to_owned(), owner: Named(owner) })
        }
        Err(error) => Err(failed(error)),
    }
}
