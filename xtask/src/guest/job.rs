//! What the guest is to do: a folder with a script, into which the guest writes how it ended.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::{Root, machine::Console};
use crate::workspace;

/// Lines of the kernel's log that are shown where the guest ended without a result.
const SHOWN: usize = 25;
/// How many times as long as elsewhere tests wait for what must come: processors are emulated.
const PATIENCE: (&str, &str) = ("NTC_TEST_PATIENCE", "6");
/// Where the guest finds its job.
const FOLDER: &str = "/run/job";

/// A folder of its own under the target folder, gone with this value.
pub struct Job {
    folder: TempDir,
    script: String,
    /// What the guest's console is joined to.
    pub console: Console,
    /// What its root is made of.
    pub root: Root,
}

impl Job {
    /// One for this machine's file system, which runs in the work tree's root.
    pub fn new(console: Console) -> Result<Self> {
        let mut job = Self::of(Root::Machine, console)?;
        // Their device files are there only with them.
        job.line("modprobe -a tun ppp_generic");
        job.environment("NTC_BINARY", &text(&workspace::target()?.join("release/ntc"))?);
        job.environment("ORT_DYLIB_PATH", &text(&workspace::tools().join("onnxruntime/libonnxruntime.so"))?);
        job.environment("NTC_SKIPPED_TESTS", &format!("{FOLDER}/skipped"));
        job.environment(PATIENCE.0, PATIENCE.1);
        job.line(&format!("cd {}", quoted(&text(&workspace::root().canonicalize()?)?)));
        Ok(job)
    }

    /// An empty one.
    pub fn of(root: Root, console: Console) -> Result<Self> {
        let parent = workspace::target()?.join("guest");
        fs::create_dir_all(&parent)?;
        let folder = tempfile::Builder::new().prefix("job-").tempdir_in(parent)?;
        let mut job = Self { folder, script: String::new(), console, root };
        job.line("#!/bin/sh");
        job.line("exec </dev/hvc0 >/dev/hvc0 2>&1");
        if console == Console::Output {
            // As through a pipe: no echo, no carriage returns.
            job.line("stty -echo -onlcr");
        }
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        job.line(&format!("export HOME=/root TERM={} PATH={path}", quoted(&terminal())));
        job.line("ip link set lo up");
        job.line("status=0");
        Ok(job)
    }

    /// Where it lies on this machine.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sets a variable for the commands that follow.
    pub fn environment(&mut self, name: &str, value: &str) {
        self.line(&format!("export {name}={}", quoted(value)));
    }

    /// Adds a command. The job ends with the status of the last that failed.
    pub fn command(&mut self, words: &[String]) {
        let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
        // A session of its own, so that a shell has a terminal to control its jobs.
        let session = if self.console == Console::Terminal { "setsid --ctty --wait " } else { "" };
        self.line(&format!("{session}{} || status=$?", words.join(" ")));
    }

    /// Shows a line before the commands that follow.
    pub fn say(&mut self, line: &str) {
        self.line(&format!("echo {}", quoted(line)));
    }

    /// Writes the script, whose end is the guest's.
    pub fn write(&self) -> Result<()> {
        let end = format!("echo $status >{FOLDER}/status\nsync\nexec busybox poweroff -f\n");
        fs::write(self.folder().join("run"), format!("{}{end}", self.script))?;
        Ok(())
    }

    /// File for the kernel's log.
    pub fn kernel_log(&self) -> PathBuf {
        self.folder().join("kernel.log")
    }

    /// How the commands ended.
    ///
    /// # Errors
    /// The guest did not come to the end of them.
    pub fn status(&self) -> Result<u8> {
        if let Ok(status) = fs::read_to_string(self.folder().join("status")) {
            return status.trim().parse().with_context(|| format!("the guest ended with {status:?}"));
        }
        let log = fs::read(self.kernel_log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(SHOWN)..].join("\n  ");
        bail!("the guest ended before its job did; the end of its kernel's log:\n  {last}");
    }

    /// Lines `NAME: REASON` of the tests that could not run.
    pub fn skipped(&self) -> Vec<String> {
        let skipped = fs::read_to_string(self.folder().join("skipped")).unwrap_or_default();
        skipped.lines().map(str::to_owned).collect()
    }

    fn line(&mut self, line: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.script, "{line}");
    }
}

fn terminal() -> String {
    std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned())
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("{} is no text", path.display()))
}

/// A word for the shell, whatever is in it.
pub fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_through_the_shell_as_they_are() -> Result<()> {
        for word in ["", "plain", "two words", "it's", "$HOME `id` \\ \"*\"", "'"] {
            let command = format!("printf %s {}", quoted(word));
            assert_eq!(workspace::output(workspace::command("sh").args(["-c", &command]))?, word);
        }
        Ok(())
    }
}
