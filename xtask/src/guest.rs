//! `guest`: commands under Debian's kernel, in a machine that qemu emulates.
//!
//! The guest has no disk: its root is this machine's file system, or a fresh Debian, shared read-only, under an overlay in
//! memory. So nothing is copied, and nothing that the guest does can stay. The one folder that it writes to is its job's.

mod initramfs;
mod job;
mod machine;
mod modules;

use std::{
    env::consts::ARCH,
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Result, ensure};
use clap::Args;

use crate::{
    build::{self, Profile},
    setup::{self, Scope},
    test, workspace,
};

pub use job::Job;
pub use machine::Console;

/// What the guest's root is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// This machine's file system: every program and every path is there.
    Machine,
    /// A fresh Debian, which systemd boots.
    Debian,
}

impl Root {
    /// Names and folders of what lies one over the other, the lowest first.
    fn layers(self) -> Vec<(&'static str, PathBuf)> {
        let kernel = ("kernel", setup::guest_kernel());
        match self {
            Self::Machine => {
                vec![("root", Path::new("/").to_path_buf()), kernel, ("tools", setup::GUEST_TOOLS.root())]
            }
            Self::Debian => vec![("root", setup::debian_root()), kernel],
        }
    }
}

/// What to run.
#[derive(Args)]
pub struct Arguments {
    /// End the guest after so many seconds; 0: never
    #[arg(long, default_value_t = 600, value_name = "SECONDS")]
    timeout: u32,
    /// Run the tests there, as `cargo xtask test` does
    #[arg(long, conflicts_with = "command")]
    tests: bool,
    /// The command with its arguments; none: a shell
    command: Vec<String>,
}

/// The verb. Ends as the command does.
pub fn main(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.tests {
        return Ok(test::in_guest());
    }
    ready()?;
    build::agent(Profile::Release)?;
    let console = if std::io::stdin().is_terminal() { Console::Terminal } else { Console::Output };
    let mut job = Job::new(console)?;
    let shell = ["sh".to_owned()];
    job.command(if arguments.command.is_empty() { &shell } else { &arguments.command });
    let limit = if arguments.command.is_empty() { 0 } else { arguments.timeout };
    workspace::run(&mut machine::command(&job, limit)?)?;
    Ok(ExitCode::from(job.status()?))
}

/// Installs what the guest needs.
///
/// # Errors
/// There can be no guest on this machine; says why.
pub fn ready() -> Result<()> {
    ensure!(ARCH == "x86_64", "the guest is set up for x86_64 only, and this machine is {ARCH}");
    setup::ensure(&[Scope::Guest])
}

/// The command that runs a job in the guest and ends with it.
pub fn command(job: &Job, limit_s: u32) -> Result<std::process::Command> {
    machine::command(job, limit_s)
}
