//! A pin directory for an agent that is not root, or no longer: root makes it, or makes it that user's own.

use std::{fs, io, path::Path};

use rustix::{
    fs::{
        AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, Uid, chownat, fchown, flock, fstatfs, open,
        statat, unlinkat,
    },
    io::Errno,
};

use super::{
    KernelError, owner,
    pins::{self, BPF_FS_MAGIC},
    policy,
};

/// Gives the directory, ntc's pins in it, and a parent named `ntc` to a user; `make` where there is none yet. bpffs is
/// mounted if it is missing. To be called as root, before anything is given up.
///
/// Nothing is followed out of the directory: whoever owned it may have put links there.
///
/// # Errors
/// A live agent has it, or what the kernel refused.
pub fn hand_over(path: &Path, uid: u32, gid: u32, make: bool) -> Result<(), KernelError> {
    let failed = |source: io::Error| KernelError::PinDirectory { path: path.display().to_string(), source };
    pins::mount_bpf_fs(path).map_err(failed)?;
    let made = make && !path.exists();
    if made {
        pins::make(path).map_err(failed)?;
    }
    let directory = |path: &Path| {
        open(path, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    };
    let opened = match directory(path) {
        Ok(opened) => opened,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(failed(error.into())),
    };
    if fstatfs(&opened).map_err(|error| failed(error.into()))?.f_type as u64 != BPF_FS_MAGIC {
        if made {
            let _ = fs::remove_dir(path);
        }
        // Whoever takes the directory next says so.
        return Ok(());
    }
    pins::close_to_others(&opened, path)?;
    match flock(&opened, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(owner::running(path)),
        Err(error) => return Err(failed(error.into())),
    }
    // The folder of another owner's lock: the next agent makes its own.
    let _ = unlinkat(&opened, policy::LOCK, AtFlags::REMOVEDIR);
    let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
    for pin in pins::ours(path) {
        let Some(name) = pin.file_name() else { continue };
        let Ok(found) = statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        // A second name may be that of somebody else's pin.
        let plain = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile && found.st_nlink == 1;
        if plain {
            chownat(&opened, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| failed(error.into()))?;
        }
    }
    fchown(&opened, uid, gid).map_err(|error| failed(error.into()))?;
    // So that its directory can go with the last pin, and come back.
    if let Some(parent) = path.parent().filter(|parent| parent.ends_with(pins::FOLDER)) {
        let parent = directory(parent).map_err(|error| failed(error.into()))?;
        fchown(&parent, uid, gid).map_err(|error| failed(error.into()))?;
    }
    Ok(())
}
