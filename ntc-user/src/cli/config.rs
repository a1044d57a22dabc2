//! `ntc config`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config::FILE;

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Tell every mistake in a configuration file, and in the files that it names. Exit code 1 if there is one
    Check(ConfigCheckArgs),
    /// Print every option of `ntc run` with what it comes to, and who said so: file, environment, or nobody
    Show(ConfigShowArgs),
}

/// `ntc config check`
#[derive(Args, Debug)]
pub struct ConfigCheckArgs {
    /// The configuration file
    #[arg(value_name = "FILE", default_value = FILE)]
    pub file: PathBuf,
    /// One JSON object: file, usable, mistakes
    #[arg(long, env = "NTC_JSON")]
    pub json: bool,
}

/// `ntc config show`
#[derive(Args, Debug)]
#[command(
    after_help = "What is printed is a configuration file itself. Flags of a running agent it does not know."
)]
pub struct ConfigShowArgs {
    /// The configuration file; without it /etc/ntc/ntc.toml where that is there
    #[arg(long, env = "NTC_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A JSON list: key, value, source, variable, help, choices, list
    #[arg(long, env = "NTC_JSON")]
    pub json: bool,
}
