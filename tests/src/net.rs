//! Network namespaces that go with the test.

use std::{
    fs::File,
    os::fd::AsFd as _,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use anyhow::{Context as _, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace named `ntc-t<process>-<number>`, removed on drop.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one, its loopback up and IPv6 silent, so that only the test's traffic is on its links.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn new() -> anyhow::Result<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("ntc-t{}-{number}", std::process::id());
        ip(&["netns", "add", &name])?;
        let namespace = Self { name };
        namespace.ip(&["link", "set", "lo", "up"])?;
        // The files show the namespace of the thread that opens them.
        namespace.enter(|| {
            for devices in ["all", "default"] {
                std::fs::write(format!("/proc/sys/net/ipv6/conf/{devices}/disable_ipv6"), "1")?;
            }
            Ok(())
        })?;
        Ok(namespace)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` in it.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn ip(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let mut all = vec!["-n", &self.name];
        all.extend_from_slice(arguments);
        ip(&all)
    }

    /// A command that will run in it, with the host's file systems (bpffs among them).
    pub fn prepare(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name)).arg(program.as_ref());
        command
    }

    /// Runs a closure in it, on a thread of its own.
    ///
    /// # Errors
    /// The closure's, or the namespace cannot be entered.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
        let file = File::open(format!("/run/netns/{}", self.name)).context("the namespace")?;
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
                work()
            });
            match inside.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// A veth pair from here (`mine`) to `other` (`theirs`), up, with room for large frames.
    ///
    /// # Errors
    /// What `ip` said.
    pub fn veth(&self, mine: &str, other: &Self, theirs: &str) -> anyhow::Result<()> {
        self.ip(&["link", "add", mine, "type", "veth", "peer", "name", theirs, "netns", &other.name])?;
        self.ip(&["link", "set", mine, "mtu", "65535", "up"])?;
        other.ip(&["link", "set", theirs, "mtu", "65535", "up"])
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // A drop cannot report; what stays is visible by its name.
        let _ = ip(&["netns", "del", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    let output = Command::new("ip").args(arguments).output().context("ip")?;
    ensure!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
