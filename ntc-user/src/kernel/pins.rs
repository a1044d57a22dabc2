//! The pin directory: `/sys/fs/bpf/ntc/v<ABI_VERSION>`, one pin for each map that others may read.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::{fd::AsFd, unix::fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

use aya::maps::{Map, MapData, MapInfo};
use ntc_common::ABI_VERSION;
use rustix::{
    fs::{FlockOperation, Mode, fchmod, flock, fstat},
    io::Errno,
};

use super::{KernelError, owner, policy};

/// Magic number of bpffs (`BPF_FS_MAGIC`, include/uapi/linux/magic.h).
pub(super) const BPF_FS_MAGIC: u64 = 0xcafe_4a11;
/// Where bpffs belongs.
pub const BPF_FS: &str = "/sys/fs/bpf";

/// Holds one pin directory for each version of the maps, in [`BPF_FS`].
pub const FOLDER: &str = "ntc";

/// Begins the name of a pinned link.
const LINK_PREFIX: &str = "link_ntc_";

/// Maps that are pinned, so that a restart takes them over and others can read them.
pub const PINNED: [&str; 16] = [
    "LABELS",
    "FLOWS",
    "FLOW_SETS",
    "FLOW_HASH",
    "HEARTBEAT",
    "LEDGER",
    "ENFORCEMENT",
    "CLASS_COUNTERS",
    "SERVICE_COUNTERS",
    "POLICY",
    "POLICY_ACTIVE",
    "POLICY_TEXT",
    "INTERFACES",
    "SHADOW_POLICY",
    "SHADOW_LABELS",
    "SHADOW_COUNTERS",
];

/// Of these, the ones that a restart does not take over.
pub(super) const SHADOW: [&str; 3] = ["SHADOW_POLICY", "SHADOW_LABELS", "SHADOW_COUNTERS"];

/// Where the maps are pinned unless configured otherwise.
pub fn default_directory() -> PathBuf {
    Path::new(BPF_FS).join(FOLDER).join(format!("v{ABI_VERSION}"))
}

/// A pin directory that is this agent's alone. Dropped before [`keep`](Self::keep), it takes away what a start that
/// failed has left in it.
#[derive(Debug)]
pub struct PinDirectory {
    path: PathBuf,
    /// There was nothing of ntc's in it.
    fresh: bool,
    kept: bool,
    /// Holds the lock; the kernel ends it with the process, however that dies.
    _lock: File,
}

impl PinDirectory {
    /// Makes the directory and takes its lock.
    ///
    /// # Errors
    /// Not on bpffs, no privilege, or another agent holds it.
    pub fn claim(path: &Path) -> Result<Self, KernelError> {
        let failed = |source| KernelError::PinDirectory { path: path.display().to_string(), source };
        mount_bpf_fs(path).map_err(failed)?;
        let made = !path.exists();
        make(path).map_err(failed)?;
        if !is_bpf_fs(path).map_err(failed)? {
            if made {
                // Of no use, and ours: as if it had not been made.
                let _ = fs::remove_dir(path);
            }
            return Err(failed(io::Error::other(
                "not on a BPF file system (they are mounted at /sys/fs/bpf)",
            )));
        }
        let lock = File::open(path).map_err(failed)?;
        close_to_others(&lock, path)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                let fresh = PINNED.iter().all(|map| !path.join(map).exists());
                Ok(Self { path: path.to_path_buf(), fresh, kept: false, _lock: lock })
            }
            Err(Errno::WOULDBLOCK) => Err(owner::running(path)),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// From here on the pins stay until they are [removed](Self::remove).
    pub const fn keep(&mut self) {
        self.kept = true;
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Compares what is pinned with what is about to be loaded: a pin of other sizes would be read as
    /// garbage, since nothing in the kernel compares them.
    ///
    /// # Errors
    /// The first pin that does not fit.
    pub fn check(&self, map: &str, needed: MapSize) -> Result<(), KernelError> {
        let path = self.path.join(map);
        if !path.exists() {
            return Ok(());
        }
        let found = MapInfo::from_pin(&path)
            .map(|info| MapSize {
                key: info.key_size(),
                value: info.value_size(),
                entries: info.max_entries(),
            })
            .map_err(|source| KernelError::PinDirectory {
                path: path.display().to_string(),
                source: io::Error::other(source),
            })?;
        if found == needed {
            return Ok(());
        }
        Err(KernelError::PinMismatch {
            path: path.display().to_string(),
            found: found.to_string(),
            needed: needed.to_string(),
        })
    }

    /// Removes a pin, so that its map is made anew; there is none is as good.
    ///
    /// # Errors
    /// It could not be removed.
    pub(super) fn forget(&self, map: &str) -> Result<(), KernelError> {
        match fs::remove_file(self.path.join(map)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(KernelError::PinDirectory { path: self.path.display().to_string(), source })
            }
            _ => Ok(()),
        }
    }

    /// Removes ntc's pins, so that all maps are made anew. The directory stays, whose lock is held.
    ///
    /// # Errors
    /// The first that could not be removed.
    pub(super) fn clear(&mut self) -> Result<(), KernelError> {
        self.fresh = true;
        remove_pins(&self.path)
            .map_err(|source| KernelError::PinDirectory { path: self.path.display().to_string(), source })
    }

    /// Removes ntc's pins, and the directory if nothing else is in it.
    ///
    /// # Errors
    /// The first that could not be removed.
    pub fn remove(&mut self) -> io::Result<()> {
        self.kept = true;
        remove(&self.path)
    }
}

impl Drop for PinDirectory {
    fn drop(&mut self) {
        if !self.kept {
            release_links(&self.path);
            if self.fresh {
                // What remains is what `ntc detach` is for.
                let _ = remove(&self.path);
            }
        }
    }
}

/// Makes a pin directory, for its owner alone; there already is as good.
pub(super) fn make(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Takes a pin directory away from all but its owner and its group: who can open it can hold its lock, and keep agents
/// from starting. What the group may do is for the administrator to say.
///
/// # Errors
/// It is somebody else's, and open to all.
pub(super) fn close_to_others(directory: impl AsFd, path: &Path) -> Result<(), KernelError> {
    let failed = |source| KernelError::PinDirectory { path: path.display().to_string(), source };
    let mode = Mode::from_raw_mode(fstat(&directory).map_err(|error| failed(error.into()))?.st_mode);
    if !mode.intersects(Mode::RWXO) {
        return Ok(());
    }
    match fchmod(&directory, mode.difference(Mode::RWXO)) {
        Err(Errno::PERM) => Err(failed(io::Error::other(format!(
            "not this user's, and open to all (mode {:o}), so that anybody could keep ntc from starting; \
             `chmod o-rwx` closes it",
            mode.bits()
        )))),
        done => done.map_err(|error| failed(error.into())),
    }
}

/// Where the link of a program on an interface is pinned, if it is to outlive the agent. By index: names change.
pub fn link(directory: &Path, program: &str, ifindex: u32) -> PathBuf {
    directory.join(format!("link_{program}_{ifindex}"))
}

/// Lets go of programs that an earlier agent left attached by links.
pub fn release_links(directory: &Path) {
    for link in links(directory) {
        // A link that stays in place makes the attach fail, which says so.
        let _ = fs::remove_file(link);
    }
}

/// The pinned links of ntc's programs in a directory.
fn links(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(LINK_PREFIX));
    ours.map(|entry| entry.path()).collect()
}

/// All that may be pinned there by ntc.
pub(super) fn ours(directory: &Path) -> Vec<PathBuf> {
    let maps = PINNED.iter().map(|map| directory.join(map));
    links(directory).into_iter().chain(maps).collect()
}

/// Sizes by which pins are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapSize {
    /// Bytes of a key.
    pub key: u32,
    /// Bytes of a value.
    pub value: u32,
    /// Room.
    pub entries: u32,
}

impl std::fmt::Display for MapSize {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-byte keys, {}-byte values, {} entries", self.key, self.value, self.entries)
    }
}

/// Removes ntc's pins and no others; directories that are empty then go, too.
///
/// # Errors
/// The first that could not be removed.
pub fn remove(directory: &Path) -> io::Result<()> {
    remove_pins(directory)?;
    // Where it stays, so does the directory.
    let _ = fs::remove_dir(directory.join(policy::LOCK));
    match fs::remove_dir(directory) {
        Ok(()) => {}
        // Somebody else's pins: not ours to remove.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => return Ok(()),
        // Made for this agent by somebody else, who will want to find it again.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
        Err(error) => return Err(error),
    }
    if let Some(parent) = directory.parent().filter(|parent| parent.ends_with(FOLDER)) {
        // Not empty: another version's pins stay.
        let _ = fs::remove_dir(parent);
    }
    Ok(())
}

fn remove_pins(directory: &Path) -> io::Result<()> {
    for pin in ours(directory) {
        match fs::remove_file(pin) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Pin directories of other versions of the maps beside this one: `…/ntc/v<number>`.
pub fn other_versions(directory: &Path) -> Vec<PathBuf> {
    let Some(parent) = directory.parent().filter(|parent| parent.ends_with(FOLDER)) else {
        return Vec::new();
    };
    let number = |name: &str| name.strip_prefix('v').is_some_and(|number| number.parse::<u32>().is_ok());
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let others = entries.filter(|entry| number(&entry.file_name().to_string_lossy()));
    let mut others: Vec<_> = others.map(|entry| entry.path()).filter(|path| path != directory).collect();
    others.sort();
    others
}

/// Refuses to start beside an agent of another version, or beside programs that one left attached: both would account
/// and mark each packet. Maps alone harm nobody. With `replace`, what an agent left that has gone is removed.
///
/// # Errors
/// The first such directory.
pub fn refuse_other_versions(directory: &Path, replace: bool) -> Result<(), KernelError> {
    for other in other_versions(directory) {
        if let Some(owner) = owner::of_pins(&other) {
            return Err(KernelError::AgentRunning {
                path: other.display().to_string(),
                owner: owner::Named(Some(owner)),
            });
        }
        if replace {
            tracing::warn!(directory = %other.display(), "of another ntc version: removed");
            remove_other_version(&other)?;
            continue;
        }
        if !links(&other).is_empty() {
            return Err(KernelError::OtherVersion(other.display().to_string()));
        }
        tracing::warn!(directory = %other.display(), "maps of another ntc version stay; `ntc detach` removes them");
    }
    Ok(())
}

/// Removes the pins of another version. Its maps may have other names than this one's: the directory is ntc's by
/// where it is, so all pins in it are.
///
/// # Errors
/// A live agent has it, or a pin could not be removed.
pub fn remove_other_version(directory: &Path) -> Result<(), KernelError> {
    let failed = |source| KernelError::PinDirectory { path: directory.display().to_string(), source };
    let mut pins = PinDirectory::claim(directory)?;
    for entry in fs::read_dir(directory).map_err(failed)?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    pins.remove().map_err(failed)
}

/// Opens a pinned map, of a running agent or of one that has gone.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn open(directory: &Path, map: &'static str) -> Result<Map, KernelError> {
    let path = directory.join(map);
    if !path.exists() {
        return Err(KernelError::NoPins(directory.display().to_string()));
    }
    MapData::from_pin(&path).and_then(Map::from_map_data).map_err(KernelError::map(map))
}

/// Mounts bpffs in its usual place if it is missing there and the directory lies below.
pub(super) fn mount_bpf_fs(directory: &Path) -> io::Result<()> {
    if !directory.starts_with(BPF_FS) || is_bpf_fs(Path::new(BPF_FS))? {
        return Ok(());
    }
    fs::create_dir_all(BPF_FS)?;
    rustix::mount::mount("bpf", BPF_FS, "bpf", rustix::mount::MountFlags::empty(), None)?;
    Ok(())
}

///
/// # Errors
/// It cannot be looked at.
pub fn is_bpf_fs(path: &Path) -> io::Result<bool> {
    match rustix::fs::statfs(path) {
        Ok(stat) => Ok(stat.f_type as u64 == BPF_FS_MAGIC),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
