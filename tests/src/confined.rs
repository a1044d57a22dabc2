//! A child process that may not eat the machine: bounded in time and memory, and measured.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _},
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

/// How a confined child ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Exit code; `None`: a signal ended it, as where it aborts or is at its limit of processor time.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
    /// Its greatest resident memory in bytes (`VmHWM`, proc_pid_status(5)), as last seen some ms before its end.
    pub peak_rss: u64,
}

/// Address space that a child can take, in bytes: above it, it aborts instead of the machine swapping.
const ADDRESS_SPACE: u64 = 4 << 30;
/// Processor time that a child can take, in s: however busy the machine is, what needs more is a hang.
const PROCESSOR_TIME: u64 = 60;
const LIMITS: [(libc::__rlimit_resource_t, u64); 2] =
    [(libc::RLIMIT_AS, ADDRESS_SPACE), (libc::RLIMIT_CPU, PROCESSOR_TIME)];

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
            for (resource, value) in LIMITS {
                let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
                if libc::setrlimit(resource, &raw const limit) != 0 {
                    return Err(std::io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    let mut child = command.spawn().context("a confined child")?;
    let status = format!("/proc/{}/status", child.id());
    let deadline = Instant::now() + limit;
    let mut peak_rss = 0;
    let code = loop {
        // Not `ru_maxrss`, which begins with what the parent had at the fork.
        peak_rss = peak_rss.max(high_water(&status));
        if let Some(status) = child.try_wait()? {
            break status.code();
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("still running after {limit:?}: {command:?}\n{}", text(&mut stderr)?);
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    Ok(Ended { code, stdout: text(&mut stdout)?, stderr: text(&mut stderr)?, peak_rss })
}

/// `VmHWM` in bytes; 0 of a process that has ended.
fn high_water(status: &str) -> u64 {
    let status = fs::read_to_string(status).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib =
        line.and_then(|line| line.trim().strip_suffix("kB")).and_then(|kib| kib.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn text(file: &mut File) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
