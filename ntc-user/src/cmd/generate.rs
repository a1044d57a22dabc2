//! `ntc generate`: man pages, shell completions, the configuration file and the reference, from the command line's own
//! definitions.

use std::{fs, process::ExitCode};

use anyhow::Context as _;
use clap::{CommandFactory as _, ValueEnum as _};
use clap_complete::Shell;

use crate::{
    api,
    cli::{Cli, GenerateArgs},
    config, reference,
};

/// Completion files as bash-completion, zsh and fish look for them.
const COMPLETIONS: [(Shell, &str); 3] =
    [(Shell::Bash, "ntc"), (Shell::Zsh, "_ntc"), (Shell::Fish, "ntc.fish")];

/// Runs the verb.
///
/// # Errors
/// A file could not be written.
pub fn run(args: &GenerateArgs) -> anyhow::Result<ExitCode> {
    let folder = &args.output;
    let man = folder.join("man");
    fs::create_dir_all(&man).with_context(|| format!("cannot make {}", man.display()))?;
    // A page a verb: ntc-run.1.
    let command = Cli::command().disable_help_subcommand(true);
    clap_mangen::generate_to(command, &man)
        .with_context(|| format!("cannot write man pages to {}", man.display()))?;
    for (shell, file) in COMPLETIONS {
        let shells = folder
            .join("completions")
            .join(shell.to_possible_value().map_or_else(String::new, |name| name.get_name().to_owned()));
        fs::create_dir_all(&shells).with_context(|| format!("cannot make {}", shells.display()))?;
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "ntc", &mut text);
        let path = shells.join(file);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    for (file, text) in [
        ("ntc.toml", config::template()?),
        ("reference.md", reference::reference()?),
        ("openapi.json", api::document()?),
    ] {
        let path = folder.join(file);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}
