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
    /// Its greatest resident memory in bytes (`VmHWM`, proc(5)), up to 5 ms before its end.
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
    let mut child = command.spawn().context("a confined child")?;
    let deadline = Instant::now() + limit;
    let mut peak_rss = 0;
    let status = loop {
        // Not `ru_maxrss`: that of a child begins with what the process had that forked it.
        peak_rss = peak_rss.max(high_water(child.id()));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("still running after {limit:?}: {command:?}\n{}", text(&mut stderr)?);
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Ok(Ended { code: status.code(), stdout: text(&mut stdout)?, stderr: text(&mut stderr)?, peak_rss })
}

/// 0 once it has ended.
fn high_water(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

fn text(file: &mut File) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
