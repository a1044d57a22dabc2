//! Children that never outlive the run: each is a process group of its own, killed as a whole.

use std::{
    io::Write,
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, wait, waitpgid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// How often a child that is waited for is asked whether it has ended.
const POLL: Duration = Duration::from_millis(5);

/// Tells every wait of the run to stop: a signal came, or a part of the run has failed.
#[derive(Clone, Default)]
pub(crate) struct Interrupt {
    signal: Arc<AtomicBool>,
    failure: Arc<AtomicBool>,
}

impl Interrupt {
    /// Turns SIGINT, SIGTERM and SIGHUP into a flag.
    pub(crate) fn install() -> Result<Self> {
        let interrupt = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&interrupt.signal))
                .context("installing a signal handler")?;
        }
        Ok(interrupt)
    }

    /// Whether all should stop.
    pub(crate) fn raised(&self) -> bool {
        self.signalled() || self.failure.load(Ordering::Relaxed)
    }

    /// Whether a signal has come.
    pub(crate) fn signalled(&self) -> bool {
        self.signal.load(Ordering::Relaxed)
    }

    /// Makes all stop, since one part has failed.
    pub(crate) fn raise(&self) {
        self.failure.store(true, Ordering::Relaxed);
    }

    /// Sleeps, but not past an interrupt; `false` once it has come.
    pub(crate) fn sleep_until(&self, deadline: Instant) -> bool {
        while !self.raised() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(Duration::from_millis(50)));
        }
        false
    }

    /// An error once it has come.
    pub(crate) fn check(&self) -> Result<()> {
        if self.raised() {
            bail!("interrupted");
        }
        Ok(())
    }
}

/// A child that leads its own process group; dropping it kills the group.
pub(crate) struct Group {
    child: Child,
    ended: Option<ExitStatus>,
}

impl Group {
    /// Starts the command as the leader of a new process group, out of reach of the terminal's Ctrl-C.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.process_group(0).spawn().with_context(|| format!("starting {name}"))?;
        Ok(Self { child, ended: None })
    }

    /// Process id of the leader.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The child itself, for its pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Exit status, if the leader has ended.
    pub(crate) fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended)
    }

    /// Waits for the leader until the deadline; `None` if it is still there then, or at an interrupt.
    pub(crate) fn wait_until(
        &mut self,
        deadline: Instant,
        interrupt: &Interrupt,
    ) -> Result<Option<ExitStatus>> {
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline || interrupt.raised() {
                return Ok(None);
            }
            thread::sleep(POLL);
        }
    }

    /// Asks the leader to end and gives it the time to do so.
    pub(crate) fn stop(&mut self, grace: Duration) -> Result<Option<ExitStatus>> {
        if let (None, Some(pid)) = (self.try_wait()?, self.pid()) {
            // It may have ended in between: the wait tells.
            let _ = kill_process(pid, Signal::INT);
        }
        self.wait_until(Instant::now() + grace, &Interrupt::default())
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Not after the leader was reaped: its number may be another's by now.
        if !matches!(self.try_wait(), Ok(None)) {
            return;
        }
        let Some(pid) = self.pid() else { return };
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = self.child.wait();
        // The others are this process's children now: while they are not reaped, their host cannot end.
        reap(|| waitpgid(pid, WaitOptions::NOHANG).map(|ended| ended.is_some()));
    }
}

/// Reaps until no child is left that the call waits for; all of them have been killed.
fn reap(wait: impl Fn() -> rustix::io::Result<bool>) {
    let deadline = Instant::now() + Duration::from_secs(1);
    while Instant::now() < deadline {
        match wait() {
            Ok(true) => {}
            Ok(false) => thread::sleep(POLL),
            Err(_) => return, // no such child is left
        }
    }
}

/// Runs a short command of the system to its end on this input.
pub(crate) fn feed(command: &mut Command, input: &str) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command.stdin(Stdio::piped()).spawn().with_context(|| format!("starting {name}"))?;
    child.stdin.take().context("no input pipe")?.write_all(input.as_bytes())?;
    let status = child.wait()?;
    if !status.success() {
        bail!("{name} failed ({status})");
    }
    Ok(())
}

/// Runs a short command of the system to its end; its standard output, or an error with what it said.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command.output().with_context(|| format!("starting {name}"))?;
    if !out.status.success() {
        let args: Vec<_> = command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
        bail!(
            "{name} {} failed ({}): {}",
            args.join(" "),
            out.status,
            String::from_utf8_lossy(&out.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Makes this process the parent of its descendants' orphans, so that they can be reaped here.
pub(crate) fn adopt_orphans() -> Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).context("becoming a subreaper")
}

/// Reaps the orphans that remain; all that were started have been killed by now.
pub(crate) fn reap_orphans() {
    reap(|| wait(WaitOptions::NOHANG).map(|ended| ended.is_some()));
}
