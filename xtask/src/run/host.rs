//! A host of the test network: a network namespace with its own mounts and process tree.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::{
    net::{CLIENT_V4, CLIENT_V6, SERVER_V4, SERVER_V6},
    process::{Group, Interrupt},
};

/// Puts the image over the host's own files. `$1` is the run's temporary folder, the working directory the image.
///
/// `/run` and the state folders are empty and writable, so that no server meets the machine's own state. The account,
/// name and resolver files are the run's: servers find the users that their packages would have made, and nobody
/// waits for a resolver that cannot be reached from here. `$2` is the host's name.
const MOUNTS: &str = r#"set -e
mount -t overlay overlay -o lowerdir=usr:/usr /usr
mount -t overlay overlay -o "lowerdir=$1/etc:etc:/etc" /etc
for state in /run /var/lib /var/log /var/spool; do mount -t tmpfs -o mode=755 tmpfs "$state"; done
hostname "$2"
cd /
echo mounted
exec cat"#;

/// Accounts that the servers drop their privileges to; no password opens any of them.
pub(crate) const ACCOUNTS: [(&str, u32); 5] =
    [("nobody", 65534), ("sshd", 901), ("dovecot", 902), ("dovenull", 903), ("ftp", 904)];

/// One command line, run on a host.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    args: Vec<String>,
    environment: Vec<(&'static str, String)>,
    input: Option<String>,
    limit: Duration,
}

impl Program {
    /// A program and its arguments, parted by blanks. `arg` adds one that has blanks of its own.
    pub(crate) fn new(line: impl AsRef<str>) -> Self {
        Self {
            args: line.as_ref().split_whitespace().map(str::to_owned).collect(),
            environment: Vec::new(),
            input: None,
            limit: Duration::from_secs(30),
        }
    }

    /// A line for the shell.
    pub(crate) fn shell(script: impl Into<String>) -> Self {
        Self::new("sh -c").arg(script)
    }

    /// One more argument, taken as it is.
    pub(crate) fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// A variable of its environment.
    pub(crate) fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.environment.push((name, value.into()));
        self
    }

    /// What it reads from its standard input.
    pub(crate) fn input(mut self, text: impl Into<String>) -> Self {
        self.input = Some(text.into());
        self
    }

    /// The command line as one would type it.
    pub(crate) fn line(&self) -> String {
        self.args.join(" ")
    }
}

/// A running host. The first process of its process tree reads from a pipe of ours: when that closes, on drop or because
/// this process died, it ends, and the kernel kills all others of the tree with it, daemons too.
pub(crate) struct Host {
    holder: Group,
    leash: Option<ChildStdin>,
    home: PathBuf,
}

impl Host {
    /// Starts the host in the network namespace of this name.
    pub(crate) fn start(namespace: &str, name: &str, image: &Path, dir: &Path) -> Result<Self> {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net=/run/netns/{namespace}"))
            .args([
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
            ])
            .args(["sh", "-c", MOUNTS, "sh"])
            .arg(dir)
            .arg(name)
            .current_dir(image)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(dir.join("log").join(format!("{namespace}.log")))?);
        let mut holder = Group::spawn(&mut command)?;
        let leash = holder.child().stdin.take();
        let mut line = String::new();
        let stdout = holder.child().stdout.take().context("no output pipe")?;
        BufReader::new(stdout).read_line(&mut line)?;
        if line.trim() != "mounted" {
            let said = fs::read_to_string(dir.join("log").join(format!("{namespace}.log")))?;
            bail!("host {namespace} did not start (it needs overlayfs): {}", said.trim());
        }
        Ok(Self { holder, leash, home: dir.join("home") })
    }

    /// Starts a program on the host; its output goes to the log.
    pub(crate) fn spawn(&self, program: &Program, log: &Path) -> Result<Group> {
        let log = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new("nsenter");
        let root = format!("/proc/{}/root", self.holder.id());
        let of = |kind: &str| format!("/proc/{}/ns/{kind}", self.holder.id());
        command
            .arg(format!("--mount={}", of("mnt")))
            .arg(format!("--pid={}", of("pid_for_children")))
            .arg(format!("--net={}", of("net")))
            .arg(format!("--uts={}", of("uts")))
            // Entering the mounts alone would leave a chroot that this process may run in.
            .args([format!("--root={root}"), format!("--wd={root}")])
            .arg("--")
            .args(&program.args)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin")
            .env("HOME", &self.home)
            .env("LC_ALL", "C")
            .envs(program.environment.iter().map(|(name, value)| (name, value)))
            .stdin(if program.input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut group = Group::spawn(&mut command)?;
        if let (Some(text), Some(mut pipe)) = (&program.input, group.child().stdin.take()) {
            // A program that ends before it has read all tells so by its exit status.
            let _ = pipe.write_all(text.as_bytes());
        }
        Ok(group)
    }

    /// Runs a program to its end, within its time limit.
    pub(crate) fn run(&self, program: &Program, log: &Path, interrupt: &Interrupt) -> Result<()> {
        let mut group = self.spawn(program, log)?;
        match group.wait_until(Instant::now() + program.limit, interrupt)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("{}: {status}", program.line()),
            None if interrupt.raised() => bail!("interrupted"),
            None => bail!("{}: not done after {:?}", program.line(), program.limit),
        }
    }

    /// Whether something on the host listens on this port, read from the kernel's socket tables: no packet is sent.
    pub(crate) fn listens(&self, udp: bool, port: u16) -> bool {
        // A listening TCP socket is in state 0A, an unconnected UDP socket in 07.
        let (tables, state) = if udp { (["udp", "udp6"], "07") } else { (["tcp", "tcp6"], "0A") };
        let suffix = format!(":{port:04X}");
        tables.iter().any(|table| {
            fs::read_to_string(format!("/proc/{}/net/{table}", self.holder.id())).is_ok_and(|text| {
                text.lines().any(|line| {
                    let mut fields = line.split_whitespace().skip(1);
                    let local = fields.next().unwrap_or_default();
                    local.ends_with(&suffix) && fields.nth(1) == Some(state)
                })
            })
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.leash.take());
        // The holder ends last. Past the limit, or on an error, its own drop kills it.
        let _ = self.holder.wait_until(Instant::now() + Duration::from_secs(5), &Interrupt::default());
    }
}

/// Writes the files of `/etc` that every host of the run shares.
pub(crate) fn write_etc(dir: &Path, accounts: &[(&str, u32)]) -> Result<()> {
    let etc = dir.join("etc");
    let home = dir.join("home");
    let mut passwd = format!("root:x:0:0:root:{}:/bin/sh\n", home.display());
    let mut group = String::from("root:x:0:\n");
    let mut shadow = String::from("root:*:19000:0:99999:7:::\n");
    for (name, id) in accounts {
        passwd += &format!("{name}:x:{id}:{id}:{name}:/:/usr/sbin/nologin\n");
        group += &format!("{name}:x:{id}:\n");
        shadow += &format!("{name}:*:19000:0:99999:7:::\n");
    }
    let mut hosts = String::from("127.0.0.1 localhost\n::1 localhost\n");
    for (addresses, names) in [
        ([CLIENT_V4, CLIENT_V6], "client.example.net client"),
        (
            [SERVER_V4, SERVER_V6],
            "server.example.net server www.example.net static.example.net api.example.net",
        ),
    ] {
        for address in addresses {
            hosts += &format!("{address} {names}\n");
        }
    }
    for folder in [&etc, &home, &dir.join("log")] {
        fs::create_dir_all(folder)?;
    }
    for (file, content) in [
        ("passwd", passwd),
        ("group", group),
        ("shadow", shadow),
        ("hosts", hosts),
        (
            "nsswitch.conf",
            "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\n".into(),
        ),
        ("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n".into()),
    ] {
        fs::write(etc.join(file), content)?;
    }
    Ok(())
}
