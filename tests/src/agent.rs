//! The command `ntc`, as it was built with the tests.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{net::Namespace, patience::patient, root};

/// The binary, built first if need be; `NTC_BINARY` names one that is built, where there is no compiler.
///
/// # Errors
/// It cannot be built.
pub fn binary() -> anyhow::Result<PathBuf> {
    static BUILT: Mutex<bool> = Mutex::new(false);
    if let Some(binary) = std::env::var_os("NTC_BINARY") {
        return Ok(binary.into());
    }
    let test = std::env::current_exe()?;
    // target/<profile>/deps/<test>, or target/<profile>/<benchmark>
    let folder = test.parent().context("no target folder")?;
    let profile =
        if folder.ends_with("deps") { folder.parent().context("no target folder")? } else { folder };
    let mut built = BUILT.lock().map_err(|_| anyhow::anyhow!("building failed before"))?;
    if !*built {
        let mut cargo = cargo();
        cargo.current_dir(root()).args(["build", "--quiet", "--package", "ntc-user", "--bin", "ntc"]);
        if profile.ends_with("release") {
            cargo.arg("--release");
        }
        ensure!(cargo.status()?.success(), "ntc cannot be built");
        *built = true;
    }
    Ok(profile.join("ntc"))
}

/// Cargo, for a test that has something built. Without what cargo told the test of its own package: it would be news to
/// build scripts that look at it (ring's), and all that hangs on them would be built anew.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let of_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    let told = std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_package));
    told.for_each(|(name, _)| _ = cargo.env_remove(name));
    cargo
}

/// A running agent, killed on drop.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    /// Where it pins its maps: a folder of its own.
    pub pin_dir: PathBuf,
    /// Its first event.
    pub ready: Value,
}

impl Agent {
    /// Starts `ntc run --format json` in a namespace and waits until it is ready.
    ///
    /// # Errors
    /// It does not become ready; its stderr says why.
    pub fn start(namespace: &Namespace, pin_dir: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start_as(namespace, pin_dir, &[], arguments)
    }

    /// As [`start`](Self::start), run by another command: `setpriv` with its options, or the like.
    ///
    /// # Errors
    /// It does not become ready; its stderr says why.
    pub fn start_as(
        namespace: &Namespace,
        pin_dir: &Path,
        by: &[&str],
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        let mut child = Self::command(namespace, pin_dir, by, arguments)?.stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("stdout")?;
        let mut agent = Self {
            child,
            lines: BufReader::new(stdout).lines(),
            pin_dir: pin_dir.to_path_buf(),
            ready: Value::Null,
        };
        let first = agent.event()?.context("the agent ended before it was ready")?;
        ensure!(first["event"] == "ready", "first event: {first}");
        agent.ready = first;
        Ok(agent)
    }

    /// `ntc run --format json` in a namespace, not yet started.
    ///
    /// # Errors
    /// ntc cannot be built.
    pub fn command(
        namespace: &Namespace,
        pin_dir: &Path,
        by: &[&str],
        arguments: &[&str],
    ) -> anyhow::Result<Command> {
        let binary = binary()?;
        let mut command = match by {
            [] => namespace.prepare(binary),
            [program, options @ ..] => {
                let mut command = namespace.prepare(program);
                command.args(options).arg(binary);
                command
            }
        };
        command
            .args(["run", "--format", "json", "--pin-dir"])
            .arg(pin_dir)
            .args(arguments)
            .env("ORT_DYLIB_PATH", root().join(".tools/onnxruntime/libonnxruntime.so"));
        Ok(command)
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// A line that is no JSON.
    pub fn event(&mut self) -> anyhow::Result<Option<Value>> {
        self.lines.next().map(|line| Ok(serde_json::from_str(&line?)?)).transpose()
    }

    /// Events up to the first that `wanted` picks.
    ///
    /// # Errors
    /// None came within ten seconds' worth of statistics (longer in an emulated machine), or before the end.
    pub fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let limit = patient(Duration::from_secs(10));
        let deadline = Instant::now() + limit;
        while let Some(event) = self.event()? {
            if wanted(&event) {
                return Ok(event);
            }
            // The agent speaks every second, so this is looked at.
            ensure!(Instant::now() < deadline, "no such event within {limit:?}; the last was {event}");
        }
        bail!("the agent ended before such an event");
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It has gone already.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_raw(self.child.id() as i32).context("pid")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Ends it in an orderly way and returns all its remaining events.
    ///
    /// # Errors
    /// It failed.
    pub fn stop(mut self) -> anyhow::Result<Vec<Value>> {
        self.signal(Signal::INT)?;
        let mut events = Vec::new();
        while let Some(event) = self.event()? {
            events.push(event);
        }
        let status = self.child.wait()?;
        ensure!(status.success(), "the agent ended with {status}");
        Ok(events)
    }

    /// Waits for its end after a signal.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn wait(mut self) -> anyhow::Result<std::process::ExitStatus> {
        Ok(self.child.wait()?)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Gone already, mostly.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A pin directory of a test's own.
#[derive(Debug)]
pub struct PinDir(pub PathBuf);

impl PinDir {
    /// Named after process and test.
    pub fn new(test: &str) -> Self {
        Self(Path::new("/sys/fs/bpf").join(format!("ntc-t{}-{test}", std::process::id())))
    }
}

impl Drop for PinDir {
    fn drop(&mut self) {
        if self.0.exists() {
            // What the test made, the test removes.
            let _ = ntc_user::kernel::pins::remove(&self.0);
        }
        // Of an agent that was killed.
        ntc_user::api::listen::remove_left(&self.0);
    }
}
