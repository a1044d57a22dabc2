//! The policy in the kernel: two tables, and a word that tells which one counts.
//!
//! A program reads the word once a packet. So a policy takes effect between two packets, whole: it is written where no
//! program looks, and then the word is moved on. Before it is written, every program that may still look there has
//! ended: `membarrier` waits for an RCU grace period, and BPF programs run within one.

use std::{
    fmt,
    fs::{DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use aya::maps::{Array, MapData};
use ntc_common::{
    limits::MAX_POLICY_TEXT,
    policy::{PolicyTable, PolicyText, policy_flags},
};
use rustix::{
    fs::{FlockOperation, flock},
    thread::{MembarrierCommand, membarrier},
};
use thiserror::Error;

use super::{KernelError, pins};
use crate::policy::{Policy, PolicyError, digest};

/// Folder in the pin directory whose lock is held while a policy is written. The directory's own is the agent's for life.
pub const LOCK: &str = "POLICY_LOCK";

/// Kernels with CPUs that take no interrupts (nohz_full) have no `membarrier` for all processes: programs, which run for
/// microseconds, are given this instead.
const GRACE: Duration = Duration::from_millis(100);

/// A policy that did not take effect, and why. The one before still counts.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// It cannot be used.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The kernel side.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Another policy was applied since the caller looked.
    #[error("the policy that counts is another one by now: {now}")]
    Changed {
        /// Its digest.
        now: String,
    },
}

/// The pinned maps of a policy.
pub struct PolicyMaps {
    tables: Array<MapData, PolicyTable>,
    texts: Array<MapData, PolicyText>,
    active: Array<MapData, u32>,
    directory: PathBuf,
}

impl fmt::Debug for PolicyMaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyMaps").finish_non_exhaustive()
    }
}

impl PolicyMaps {
    /// Opens them.
    ///
    /// # Errors
    /// No pins, or not readable.
    pub fn open(directory: &Path) -> Result<Self, KernelError> {
        let failed = KernelError::map;
        Ok(Self {
            tables: Array::try_from(pins::open(directory, "POLICY")?).map_err(failed("POLICY"))?,
            texts: Array::try_from(pins::open(directory, "POLICY_TEXT")?).map_err(failed("POLICY_TEXT"))?,
            active: Array::try_from(pins::open(directory, "POLICY_ACTIVE")?)
                .map_err(failed("POLICY_ACTIVE"))?,
            directory: directory.to_path_buf(),
        })
    }

    /// Policies applied so far: another number, another policy.
    ///
    /// # Errors
    /// Not readable.
    pub fn applied(&self) -> Result<u32, KernelError> {
        self.active.get(&0, 0).map_err(KernelError::map("POLICY_ACTIVE"))
    }

    /// The table that counts.
    ///
    /// # Errors
    /// Not readable.
    pub fn table(&self) -> Result<Box<PolicyTable>, KernelError> {
        self.steady(|maps, slot| maps.tables.get(&slot, 0).map(Box::new).map_err(KernelError::map("POLICY")))
    }

    /// The text that counts; empty where none was applied yet.
    ///
    /// # Errors
    /// Not readable.
    pub fn text(&self) -> Result<String, KernelError> {
        self.steady(|maps, slot| {
            let written = maps.texts.get(&slot, 0).map_err(KernelError::map("POLICY_TEXT"))?;
            let bytes = written.text.get(..written.length as usize).unwrap_or_default();
            Ok(String::from_utf8_lossy(bytes).into_owned())
        })
    }

    /// Reads what counts; again if it was another policy's turn meanwhile.
    fn steady<T>(&self, read: impl Fn(&Self, u32) -> Result<T, KernelError>) -> Result<T, KernelError> {
        loop {
            let before = self.applied()?;
            let found = read(self, before & 1)?;
            if self.applied()? == before {
                return Ok(found);
            }
        }
    }

    /// The policy that counts.
    ///
    /// # Errors
    /// Not readable, or another ntc's text in them.
    pub fn active(&self) -> Result<Policy, ApplyError> {
        let table = self.table()?;
        let policy = Policy::parse("(active)", &self.text()?, table.mark_mask)?;
        Ok(policy.dry_run(table.flags & policy_flags::DRY_RUN != 0))
    }

    /// Checks the text of a policy and applies it, to a running agent or to the maps of one that died: whole, between two
    /// packets. `path` stands for the text in messages. With `expected`, only if the policy that counts has that digest.
    /// Marks and dry run stay as the agent was started with.
    ///
    /// # Errors
    /// Every mistake in the text; or what keeps it from being applied.
    pub fn apply(&mut self, path: &str, text: &str, expected: Option<&str>) -> Result<Policy, ApplyError> {
        let _lock = lock(&self.directory)?;
        let before = self.table()?;
        let policy =
            Policy::parse(path, text, before.mark_mask)?.dry_run(before.flags & policy_flags::DRY_RUN != 0);
        if let Some(expected) = expected {
            let now = digest(self.text()?.as_bytes());
            if now != expected {
                return Err(ApplyError::Changed { now });
            }
        }
        self.write(&policy)?;
        Ok(policy)
    }

    fn write(&mut self, policy: &Policy) -> Result<(), KernelError> {
        let next = self.applied()?.wrapping_add(1);
        let slot = next & 1;
        let mut text = Box::new(PolicyText { length: policy.text.len() as u32, text: [0; MAX_POLICY_TEXT] });
        text.text[..policy.text.len()].copy_from_slice(policy.text.as_bytes());
        // From before the last change of policy there may be a program that still reads this table.
        wait_for_programs();
        self.tables.set(slot, *policy.table, 0).map_err(KernelError::map("POLICY"))?;
        self.texts.set(slot, *text, 0).map_err(KernelError::map("POLICY_TEXT"))?;
        // All CPUs see the table before the word: the call is a memory barrier on each of them.
        wait_for_programs();
        self.active.set(0, next, 0).map_err(KernelError::map("POLICY_ACTIVE"))
    }
}

/// Applies the policy of an agent's configuration, at its start or when it is read again: marks and dry run are this
/// agent's from here on.
///
/// # Errors
/// No pins, or not writable.
pub fn start(directory: &Path, policy: &Policy) -> Result<(), KernelError> {
    let _lock = lock(directory)?;
    PolicyMaps::open(directory)?.write(policy)
}

/// Whether the policy that counts is a dry run from here on.
///
/// # Errors
/// No pins, or not writable; another ntc's text in them.
pub fn set_dry_run(directory: &Path, dry_run: bool) -> Result<(), ApplyError> {
    let _lock = lock(directory)?;
    let mut maps = PolicyMaps::open(directory)?;
    let policy = Policy::parse("(active)", &maps.text()?, maps.table()?.mark_mask)?;
    Ok(maps.write(&policy.dry_run(dry_run))?)
}

/// Writes the shadow's policy, before its programs run.
///
/// # Errors
/// No pins, or not writable.
pub fn shadow(directory: &Path, policy: &Policy) -> Result<(), KernelError> {
    let failed = KernelError::map;
    let mut map = Array::<_, PolicyTable>::try_from(pins::open(directory, "SHADOW_POLICY")?)
        .map_err(failed("SHADOW_POLICY"))?;
    map.set(0, *policy.table, 0).map_err(failed("SHADOW_POLICY"))
}

/// As [`PolicyMaps::apply`], by the pins.
///
/// # Errors
/// No pins; every mistake in the text; or what keeps it from being applied.
pub fn apply(directory: &Path, path: &str, text: &str, expected: Option<&str>) -> Result<Policy, ApplyError> {
    PolicyMaps::open(directory)?.apply(path, text, expected)
}

/// As [`PolicyMaps::active`], by the pins.
///
/// # Errors
/// No pins, or another ntc's text in them.
pub fn active(directory: &Path) -> Result<Policy, ApplyError> {
    PolicyMaps::open(directory)?.active()
}

/// One writer at a time, whatever process it is in.
fn lock(directory: &Path) -> Result<File, KernelError> {
    let failed =
        |source: io::Error| KernelError::PinDirectory { path: directory.display().to_string(), source };
    if !directory.join("POLICY").exists() {
        return Err(KernelError::NoPins(directory.display().to_string()));
    }
    let path = directory.join(LOCK);
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    let folder = File::open(path).map_err(failed)?;
    flock(&folder, FlockOperation::LockExclusive).map_err(|error| failed(error.into()))?;
    Ok(folder)
}

fn wait_for_programs() {
    if membarrier(MembarrierCommand::Global).is_err() {
        std::thread::sleep(GRACE);
    }
}
