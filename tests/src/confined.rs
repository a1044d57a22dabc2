//! A child process that may not eat the machine: bounded in time and memory, and measured.

use std::{
    fs::File,
    io::{Read as _, Seek as _},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

/// How a confined child ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Exit code; `None`: a signal ended it, as a panic that aborts and a limit do.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
    /// Its greatest resident memory in bytes (`ru_maxrss`, getrusage(2)).
    pub peak_rss: u64,
}

/// Address space that a child can take, in bytes: above it, it aborts instead of the machine swapping.
const ADDRESS_SPACE: u64 = 4 << 30;

/// Runs the command to its end, or kills it after `limit`. Its standard input is as the caller set it.
///
/// # Errors
/// It cannot be started, or had to be killed.
pub fn run(command: &mut Command, limit: Duration) -> anyhow::Result<Ended> {
    // Files, not pipes: nobody need read them meanwhile.
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdout(Stdio::from(stdout.try_clone()?)).stderr(Stdio::from(stderr.try_clone()?));
    // SAFETY: between fork and exec only setrlimit(2) is called, which is async-signal-safe and allocates nothing.
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit { rlim_cur: ADDRESS_SPACE, rlim_max: ADDRESS_SPACE };
            match libc::setrlimit(libc::RLIMIT_AS, &raw const limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    let child = command.spawn().context("a confined child")?;
    let pid = i32::try_from(child.id())?;
    let deadline = Instant::now() + limit;
    // SAFETY: all-zero is a value of this struct of integers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let mut status = 0;
    loop {
        // SAFETY: both pointers are to live variables of the right types; the child is ours and not yet reaped, since
        // `Child` reaps only when asked to wait.
        match unsafe { libc::wait4(pid, &raw mut status, libc::WNOHANG, &raw mut usage) } {
            0 if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            0 => {
                // SAFETY: our own child, not yet reaped, so the number is still its.
                unsafe { libc::kill(pid, libc::SIGKILL) };
                // SAFETY: as above.
                unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
                bail!("still running after {limit:?}: {command:?}\n{}", text(&mut stderr)?);
            }
            done if done == pid => break,
            _ => return Err(std::io::Error::last_os_error()).context("wait4"),
        }
    }
    Ok(Ended {
        code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
        stdout: text(&mut stdout)?,
        stderr: text(&mut stderr)?,
        // Linux counts in KiB.
        peak_rss: u64::try_from(usage.ru_maxrss)? * 1024,
    })
}

fn text(file: &mut File) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
