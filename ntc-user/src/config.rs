//! `ntc run --config FILE`: options of `ntc run` from a TOML file, by their long names. Flags and environment variables
//! come before it: what the file says takes the place of the defaults.

use std::{env, ffi::OsString, fs};

use clap::{ArgAction, Command, FromArgMatches as _};
use thiserror::Error;
use toml::{Table, Value};

use crate::cli::Cli;

const VERB: &str = "run";
const OPTION: &str = "config";
const VARIABLE: &str = "NTC_CONFIG";

/// A configuration file that cannot be used, and why.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("configuration {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is no TOML.
    #[error("configuration {path}: {source}")]
    Syntax {
        /// The file.
        path: String,
        /// Place and mistake.
        source: Box<toml::de::Error>,
    },
    /// `ntc run` has no such option.
    #[error("configuration {path}: no option {key:?}; there are {known}")]
    UnknownKey {
        /// The file.
        path: String,
        /// As written.
        key: String,
        /// All options.
        known: String,
    },
    /// Neither text, number, truth value nor a list of them.
    #[error("configuration {path}: {key} is neither text, number, true or false, nor a list of them")]
    Value {
        /// The file.
        path: String,
        /// Which option.
        key: String,
    },
}

/// Parses the command line over the configuration file that it names. Wrong usage ends the process, as clap does it.
///
/// # Errors
/// The file cannot be used.
pub fn parse(command: Command, arguments: Vec<OsString>) -> Result<Cli, ConfigError> {
    let command = match named(&arguments) {
        Some(path) => over_file(command, &path)?,
        None => command,
    };
    let matches = command.get_matches_from(arguments);
    Ok(Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()))
}

/// The file that `ntc run` is given, by flag or environment.
fn named(arguments: &[OsString]) -> Option<String> {
    let mut words = arguments.iter().skip(1).map(|word| word.to_string_lossy());
    if words.next()? != VERB {
        return None;
    }
    while let Some(word) = words.next() {
        match word.strip_prefix("--").and_then(|word| word.strip_prefix(OPTION)) {
            Some("") => return words.next().map(Into::into),
            Some(value) if value.starts_with('=') => return Some(value[1..].to_owned()),
            _ => {}
        }
    }
    env::var(VARIABLE).ok().filter(|path| !path.is_empty())
}

fn over_file(mut command: Command, path: &str) -> Result<Command, ConfigError> {
    let path = path.to_owned();
    let text =
        fs::read_to_string(&path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
    let table: Table = toml::from_str(&text)
        .map_err(|source| ConfigError::Syntax { path: path.clone(), source: Box::new(source) })?;
    for (key, value) in &table {
        let options = command.find_subcommand(VERB).into_iter().flat_map(Command::get_arguments);
        let usable = options.filter(|option| option.get_long().is_some_and(|long| long != OPTION));
        let usable: Vec<_> =
            usable.filter(|option| !matches!(option.get_action(), ArgAction::Help)).collect();
        let Some(option) = usable.iter().find(|option| option.get_long() == Some(key)) else {
            let known: Vec<_> = usable.iter().filter_map(|option| option.get_long()).collect();
            return Err(ConfigError::UnknownKey { path, key: key.clone(), known: known.join(", ") });
        };
        let id = option.get_id().clone();
        let values =
            words(value).ok_or_else(|| ConfigError::Value { path: path.clone(), key: key.clone() })?;
        // clap keeps defaults for the life of the process, so that is how long they live.
        let values = values.into_iter().map(|value| &*value.leak()).collect::<Vec<&'static str>>();
        command = command.mut_subcommand(VERB, |run| run.mut_arg(id, |option| option.default_values(values)));
    }
    Ok(command)
}

fn words(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Integer(number) => Some(vec![number.to_string()]),
        Value::Boolean(truth) => Some(vec![truth.to_string()]),
        Value::Array(values) => values
            .iter()
            .map(words)
            .collect::<Option<Vec<_>>>()
            .map(|words| words.into_iter().flatten().collect()),
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{RunArgs, Verb};
    use clap::CommandFactory as _;

    fn run(file: &str, more: &[&str]) -> Result<RunArgs, ConfigError> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ntc.toml");
        fs::write(&path, file).expect("a file");
        let path = path.display().to_string();
        let words = ["ntc", "run", "--config", &path].iter().chain(more).map(OsString::from).collect();
        match parse(Cli::command(), words)?.verb {
            Verb::Run(arguments) => Ok(*arguments),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_file_takes_the_place_of_defaults_and_flags_come_first() {
        let file = "iface = [\"a0\", \"b0\"]\nmax-flows = 128\ndry-run = true\nformat = \"json\"\nmark-mask = \"0xff\"";
        let arguments = run(file, &["--max-flows", "256"]).expect("usable");
        assert_eq!(arguments.interfaces, ["a0", "b0"]);
        assert_eq!((arguments.max_flows, arguments.dry_run, arguments.mark_mask), (256, true, 0xff));
        assert_eq!(arguments.pause_ms, 100, "what the file does not name keeps its default");
    }

    #[test]
    fn mistakes_name_file_and_key() {
        let error = |file| run(file, &[]).expect_err("a mistake").to_string();
        assert!(error("max_flows = 1").contains("no option \"max_flows\"; there are iface, capture"));
        assert!(error("iface = [").contains("ntc.toml"));
        assert!(error("iface = { a = 1 }").contains("iface is neither text"));
    }
}
