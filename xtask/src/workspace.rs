//! Where things lie in the work tree, and how its commands are started.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

/// The repository's root. Asked at run time, so that a target folder shared by two clones does no harm.
pub fn root() -> PathBuf {
    let xtask = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    xtask.parent().map_or_else(|| xtask.clone(), Path::to_path_buf)
}

/// What setup installs for this project alone: in the work tree, out of git, gone with the clone.
pub fn tools() -> PathBuf {
    root().join(".tools")
}

/// Where cargo puts what it builds, which is not always `target/`: this program is there too, one folder down.
pub fn target() -> Result<PathBuf> {
    let xtask = env::current_exe().context("cannot tell where this program is")?;
    xtask.ancestors().nth(2).map(Path::to_path_buf).context("this program is in no target directory")
}

/// A command that runs in the root and finds the project's own tools first.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    let path = env::var_os("PATH").unwrap_or_default();
    let with_tools = std::iter::once(tools().join("bin")).chain(env::split_paths(&path));
    // Joining fails only on a folder with a colon in its name; such a PATH is left as it is.
    if let Ok(path) = env::join_paths(with_tools) {
        command.env("PATH", path);
    }
    command
}

/// The cargo that runs this xtask, and with it the pinned tool chain.
pub fn cargo() -> Command {
    let mut cargo = command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo told this process of its package would be news to build scripts that look at it (ring's), and all that
    // hangs on them would be built anew.
    let of_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    let told = env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_package));
    told.for_each(|(name, _)| _ = cargo.env_remove(name));
    cargo
}

/// Shows the command, runs it with this terminal, and makes a failure an error that names it.
pub fn run(command: &mut Command) -> Result<()> {
    let line = show(command);
    eprintln!("$ {line}");
    let status = command.status().with_context(|| format!("could not start `{line}`"))?;
    ensure!(status.success(), "`{line}` failed: {status}");
    Ok(())
}

/// Runs the command in silence and returns what it printed.
pub fn output(command: &mut Command) -> Result<String> {
    let line = show(command);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .with_context(|| format!("could not start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` failed: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The command as one would type it, the paths of the work tree shortened.
pub fn show(command: &Command) -> String {
    let here = format!("{}/", root().display());
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let mut line = String::new();
    for (n, word) in words.enumerate() {
        let word = word.to_string_lossy();
        let word = if n == 0 && word.ends_with("/cargo") { "cargo".into() } else { word.replace(&here, "") };
        let quote = word.contains([' ', '"', '*', '$']);
        line.push_str(if n == 0 { "" } else { " " });
        line.push_str(&if quote { format!("'{word}'") } else { word });
    }
    line
}

/// Whether a program of that name is in PATH.
pub fn in_path(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}
