//! Privileges: three capabilities, a user of its own, and no way back to more.
//!
//! | when | what is held |
//! | --- | --- |
//! | [`enter`], before anything is read or loaded | the three of [`NEEDED`], as the user who was asked for |
//! | [`settle`], once the programs are loaded and attached | CAP_BPF and CAP_NET_ADMIN, in the main thread alone |
//! | [`renounce`], first thing in every other thread | nothing |
//!
//! Capabilities are a thread's own. Threads share memory, so what one gave up is a guard against mistakes, not against
//! somebody who runs code in this process: that one is kept to the two capabilities and the user.

use std::{
    ffi::CString,
    fs,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use nix::unistd::{Gid, Uid, User, initgroups, setresgid, setresuid};
use rustix::{
    io::Errno,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
        clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
        set_keep_capabilities, set_no_new_privs,
    },
};
use thiserror::Error;

use super::{KernelError, handover};

/// What the agent needs, by name.
pub const NEEDED: [(CapabilitySet, &str); 3] = [
    // Maps, and loading programs at all.
    (CapabilitySet::BPF, "CAP_BPF"),
    // Programs of the XDP and tc types, and hooking them to interfaces.
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"),
    // The verifier takes the programs' pointer arithmetic from those only who may see kernel addresses.
    (CapabilitySet::PERFMON, "CAP_PERFMON"),
];

/// What stays until the end: an interface that comes back is attached to again.
const TO_THE_END: CapabilitySet = CapabilitySet::BPF.union(CapabilitySet::NET_ADMIN);

/// Privileges could not be given up, or the user not be changed to.
#[derive(Debug, Error)]
pub enum PrivilegeError {
    /// `--user` names nobody.
    #[error("user {0}: there is none of that name; `useradd --system {0}` makes one")]
    NoUser(String),
    /// Only root changes users.
    #[error("user {0}: only root can change to another user; start ntc as root, or as that user")]
    NotRoot(String),
    /// A change of user would not reach all threads.
    #[error("user {0}: this process has several threads already")]
    Threads(String),
    /// The user cannot get at the pins.
    #[error(
        "user {user}: {closed} is closed to it (mode {mode:o}), so that it cannot reach {pins}. \
         `chmod o+x {closed}` opens the way, and no more than that; or give --pin-dir on a BPF file system of its own"
    )]
    Unreachable {
        /// Who.
        user: String,
        /// Which directory.
        closed: String,
        /// Its mode.
        mode: u32,
        /// The pin directory.
        pins: String,
    },
    /// The pins could not be handed over.
    #[error(transparent)]
    Pins(#[from] KernelError),
    /// The kernel refused.
    #[error("cannot {what}: {source}")]
    Refused {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
}

/// What is missing after that was given up, not withheld.
static SETTLED: AtomicBool = AtomicBool::new(false);

/// Which of the three capabilities this process was not given, by name.
pub fn missing() -> Vec<&'static str> {
    if SETTLED.load(Ordering::Relaxed) {
        return Vec::new();
    }
    let held = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    NEEDED.iter().filter(|(capability, _)| !held.contains(*capability)).map(|(_, name)| *name).collect()
}

/// Changes to `user`, if one is named, and gives up every capability but the three. From here on the process can gain
/// none, whatever it executes. The pins in `pin_dir` are made the user's own while root may still do that.
///
/// To be called before any other thread is started.
///
/// # Errors
/// No such user, not root, or what the kernel refused.
pub fn enter(user: Option<&str>, pin_dir: &Path) -> Result<(), PrivilegeError> {
    let user = user.map(look_up).transpose()?;
    if Uid::effective().is_root() {
        let (uid, gid) =
            user.as_ref().map_or((Uid::effective(), Gid::effective()), |user| (user.uid, user.gid));
        handover::hand_over(pin_dir, uid.as_raw(), gid.as_raw(), user.is_some())?;
    }
    if let Some(user) = &user {
        reachable(user, pin_dir)?;
        change_to(user)?;
    }
    drop_bounding_set()?;
    set_no_new_privs(true).map_err(refused("forbid itself new privileges"))?;
    clear_ambient_capability_set().map_err(refused("clear the ambient capabilities"))?;
    keep(NEEDED.iter().fold(CapabilitySet::empty(), |all, (capability, _)| all | *capability))
}

/// Gives up what only loading needs. To be called by the thread that attaches.
///
/// # Errors
/// What the kernel refused.
pub fn settle() -> Result<(), PrivilegeError> {
    SETTLED.store(true, Ordering::Relaxed);
    keep(TO_THE_END)
}

/// Gives up all capabilities of the calling thread.
pub fn renounce() {
    // Less is always allowed.
    let _ = keep(CapabilitySet::empty());
}

fn look_up(name: &str) -> Result<User, PrivilegeError> {
    let user = User::from_name(name)
        .map_err(|error| refused("look users up")(Errno::from_raw_os_error(error as i32)))?
        .ok_or_else(|| PrivilegeError::NoUser(name.to_owned()))?;
    if !Uid::effective().is_root() && Uid::effective() != user.uid {
        return Err(PrivilegeError::NotRoot(name.to_owned()));
    }
    Ok(user)
}

/// Whether the user may pass every directory on the way to the pins (systemd mounts bpffs for root alone).
fn reachable(user: &User, pin_dir: &Path) -> Result<(), PrivilegeError> {
    use std::os::unix::fs::MetadataExt as _;
    let way: Vec<_> = pin_dir.ancestors().skip(1).collect();
    for directory in way.into_iter().rev() {
        let Ok(found) = fs::metadata(directory) else { continue };
        let search = if found.uid() == user.uid.as_raw() {
            0o100
        } else if found.gid() == user.gid.as_raw() {
            0o010
        } else {
            0o001
        };
        if found.mode() & search == 0 {
            return Err(PrivilegeError::Unreachable {
                user: user.name.clone(),
                closed: directory.display().to_string(),
                mode: found.mode() & 0o7777,
                pins: pin_dir.display().to_string(),
            });
        }
    }
    Ok(())
}

/// Changes user and groups, keeping permitted capabilities.
fn change_to(user: &User) -> Result<(), PrivilegeError> {
    if Uid::effective() == user.uid {
        return Ok(());
    }
    // keepcaps and capabilities are a thread's own: others would lose theirs, or keep root's.
    if fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() > 1) {
        return Err(PrivilegeError::Threads(user.name.clone()));
    }
    let nix = |what| move |error: nix::Error| refused(what)(Errno::from_raw_os_error(error as i32));
    let name = CString::new(user.name.as_str()).map_err(|_| PrivilegeError::NoUser(user.name.clone()))?;
    set_keep_capabilities(true).map_err(refused("keep capabilities"))?;
    initgroups(&name, user.gid).map_err(nix("take the user's groups"))?;
    setresgid(user.gid, user.gid, user.gid).map_err(nix("change the group"))?;
    setresuid(user.uid, user.uid, user.uid).map_err(nix("change the user"))?;
    // The change emptied the effective set: it is filled again from the permitted one, which was kept.
    set_keep_capabilities(false).map_err(refused("end keeping capabilities"))?;
    let sets = capabilities(None).map_err(refused("read its capabilities"))?;
    set_capabilities(None, CapabilitySets { effective: sets.permitted, ..sets })
        .map_err(refused("take its capabilities up again"))
}

/// Nothing that this process executes can have a capability. Only who holds CAP_SETPCAP may do this; the others
/// are kept from new capabilities by `no_new_privs`.
fn drop_bounding_set() -> Result<(), PrivilegeError> {
    let held = capabilities(None).map_err(refused("read its capabilities"))?.effective;
    if !held.contains(CapabilitySet::SETPCAP) {
        return Ok(());
    }
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match capability_is_in_bounding_set(capability) {
            Ok(true) => remove_capability_from_bounding_set(capability)
                .map_err(refused("empty the bounding set of capabilities"))?,
            Ok(false) => {}
            // Beyond the last one that this kernel has.
            Err(_) => break,
        }
    }
    Ok(())
}

/// Keeps of what is held no more than `these`.
fn keep(these: CapabilitySet) -> Result<(), PrivilegeError> {
    let held = capabilities(None).map_err(refused("read its capabilities"))?.permitted & these;
    let sets = CapabilitySets { effective: held, permitted: held, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(refused("give up capabilities"))
}

fn refused(what: &'static str) -> impl FnOnce(Errno) -> PrivilegeError {
    move |error| PrivilegeError::Refused { what, source: error.into() }
}
