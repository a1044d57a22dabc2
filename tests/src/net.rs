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

    /// Makes a device; `false` where this kernel has none of its type.
    ///
    /// # Errors
    /// What `ip` said otherwise.
    pub fn device(&self, arguments: &[&str]) -> anyhow::Result<bool> {
        match self.ip(&[&["link", "add"], arguments].concat()) {
            Err(error) if error.to_string().contains("Unknown device type") => Ok(false),
            made => made.map(|()| true),
        }
    }

    /// The index of an interface in it.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn index(&self, interface: &str) -> anyhow::Result<u32> {
        let name = std::ffi::CString::new(interface)?;
        self.enter(|| {
            // SAFETY: a C string that lives for the call.
            match unsafe { libc::if_nametoindex(name.as_ptr()) } {
                0 => Err(std::io::Error::last_os_error().into()),
                index => Ok(index),
            }
        })
    }

    /// What a command that runs in it prints; its complaint if it fails.
    ///
    /// # Errors
    /// It cannot be run, or fails.
    pub fn output(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.prepare(program).args(arguments).output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{program} {arguments:?}: {complaint}");
        Ok(String::from_utf8(output.stdout)?)
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
