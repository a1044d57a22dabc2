//! `ntc run --config FILE`: options of `ntc run` from a TOML file, by their long names. Flags and environment variables
//! come before it: what the file says takes the place of the defaults.

mod setting;
mod template;

use std::{collections::BTreeMap, env, ffi::OsString, fs, ops::Range};

use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory as _, FromArgMatches as _, error::ErrorKind};
use thiserror::Error;
use toml::{Table, Value, de::DeTable};

pub use self::{
    setting::{Setting, Source, settings},
    template::template,
};
use crate::{
    cli::{Cli, RunArgs},
    likeness::did_you_mean,
    policy::{Mistake, lines, place},
};

/// Where packages put it.
pub const FILE: &str = "/etc/ntc/ntc.toml";

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
    /// There are mistakes in it.
    #[error("{}", lines("configuration", path, mistakes))]
    Mistakes {
        /// The file.
        path: String,
        /// All of them, in the order of the text.
        mistakes: Vec<Mistake>,
    },
    /// File, environment and flags do not go together.
    #[error("{0}")]
    Usage(String),
}

/// The options of `ntc run`, by their long names, as they were told.
pub type Values = BTreeMap<String, Vec<OsString>>;

/// Parses the command line over the configuration file that it names. Wrong usage ends the process, as clap does it.
///
/// # Errors
/// The file cannot be used.
pub fn parse(command: Command, arguments: Vec<OsString>) -> Result<Cli, ConfigError> {
    let matches = over_named(command, &arguments)?.get_matches_from(arguments);
    Ok(Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()))
}

/// What a running agent's command line says now: the file is read again.
///
/// # Errors
/// The file cannot be used.
pub fn again(arguments: &[OsString]) -> Result<(RunArgs, Values), ConfigError> {
    let command = over_named(Cli::command(), arguments)?;
    let usage = |error: clap::Error| ConfigError::Usage(first_line(&error));
    let matches = command.clone().try_get_matches_from(arguments).map_err(usage)?;
    let run = matches.subcommand_matches(VERB).ok_or_else(|| ConfigError::Usage("not `ntc run`".into()))?;
    Ok((RunArgs::from_arg_matches(run).map_err(usage)?, values(&command, run)))
}

/// What is told for each option; nothing where it has neither value nor default.
fn values(command: &Command, run: &ArgMatches) -> Values {
    let told = |option: &Arg| -> Vec<OsString> {
        let raw = run.try_get_raw(option.get_id().as_str()).ok().flatten();
        raw.into_iter().flatten().map(Into::into).collect()
    };
    options(command).map(|option| (key(option).to_owned(), told(option))).collect()
}

/// Options that may stand in the file, in the order of the help.
fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    let options = command.find_subcommand(VERB).into_iter().flat_map(Command::get_arguments);
    options
        .filter(|option| option.get_long().is_some_and(|long| long != OPTION))
        .filter(|option| !matches!(option.get_action(), ArgAction::Help | ArgAction::Version))
}

fn key(option: &Arg) -> &str {
    option.get_long().unwrap_or_default()
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

/// The command over the configuration file that its arguments name, if they name one.
fn over_named(command: Command, arguments: &[OsString]) -> Result<Command, ConfigError> {
    match named(arguments) {
        Some(path) => over_file(command, &path),
        None => Ok(command),
    }
}

fn over_file(command: Command, path: &str) -> Result<Command, ConfigError> {
    let path = path.to_owned();
    match fs::read_to_string(&path) {
        Ok(text) => over_text(command, &text).map_err(|mistakes| ConfigError::Mistakes { path, mistakes }),
        Err(source) => Err(ConfigError::Read { path, source }),
    }
}

/// The command with the text's values in place of its defaults; else every mistake in the text.
fn over_text(mut command: Command, text: &str) -> Result<Command, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let mut mistake = |span: Range<usize>, field: &str, what: String| {
        let (line, column) = place(text, span.start);
        mistakes.push(Mistake { line, column, field: field.to_owned(), what });
    };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        mistake(error.span().unwrap_or_default(), "", error.message().to_owned());
    }
    let table: Table =
        if errors.is_empty() { toml::from_str(text).unwrap_or_default() } else { Table::new() };
    let spans = document.into_inner();
    let span = |key: &str| spans.iter().find(|(name, _)| name.get_ref() == key).map(|(name, _)| name.span());
    for (key, value) in &table {
        let span = span(key).unwrap_or_default();
        let Some(option) = options(&command).find(|option| self::key(option) == key) else {
            let names = || options(&command).map(self::key);
            let close = did_you_mean(&key.replace('_', "-"), names());
            let list = || format!("; there are {}", names().collect::<Vec<_>>().join(", "));
            mistake(span, key, format!("no such key{}", if close.is_empty() { list() } else { close }));
            continue;
        };
        let id = option.get_id().clone();
        let Some(values) = words(value) else {
            mistake(span, key, "neither text, number, true or false, nor a list of them".into());
            continue;
        };
        if let Some(what) = refused(&command, option, &values) {
            mistake(span, key, what);
            continue;
        }
        // clap keeps defaults for the life of the process, so that is how long they live. A file that is read again
        // leaks its few hundred bytes once more.
        let values = values.into_iter().map(|value| &*value.leak()).collect::<Vec<&'static str>>();
        command = command.mut_subcommand(VERB, |run| run.mut_arg(id, |option| option.default_values(values)));
    }
    if mistakes.is_empty() {
        return Ok(command);
    }
    mistakes.sort_by_key(|mistake| (mistake.line, mistake.column));
    Err(mistakes)
}

/// What clap has against a value, which it would only say of a flag by ending the process.
fn refused(command: &Command, option: &Arg, values: &[String]) -> Option<String> {
    let takes_value = option.get_action().takes_values();
    if !takes_value {
        let truth = matches!(values, [value] if value == "true" || value == "false");
        return (!truth).then(|| "true or false".to_owned());
    }
    let run = command.find_subcommand(VERB)?.clone();
    let words = values.iter().map(|value| format!("--{}={value}", key(option)));
    let error = run.try_get_matches_from(std::iter::once(VERB.to_owned()).chain(words)).err()?;
    // Others speak of options that are missing beside this one.
    let of_value = matches!(
        error.kind(),
        ErrorKind::ValueValidation | ErrorKind::InvalidValue | ErrorKind::ArgumentConflict
    );
    let once = values.len() > 1 || error.kind() != ErrorKind::ArgumentConflict;
    (of_value && once).then(|| first_line(&error))
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
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
    use crate::cli::Verb;

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
    fn mistakes_name_file_line_and_key_and_what_was_meant() {
        let error = |file| run(file, &[]).expect_err("a mistake").to_string();
        assert!(
            error("# first\nmax_flows = 1")
                .ends_with(":2:1: max_flows: no such key; did you mean \"max-flows\"?")
        );
        assert!(error("speed = 1").contains("no such key; there are iface, capture"));
        assert!(error("iface = [").contains("ntc.toml:1:"));
        assert!(error("iface = { a = 1 }").contains("iface: neither text"));
        assert!(error("dry-run = 1").contains("dry-run: true or false"));
        let both = error("tcp-idle = 0\nhook = \"xdp\"");
        assert!(
            both.contains(":1:1: tcp-idle: invalid value '0'") && both.contains(":2:1: hook: invalid value"),
            "{both}"
        );
    }

    #[test]
    fn a_list_for_a_single_value_is_a_mistake() {
        let error = run("pause-ms = [1, 2]", &[]).expect_err("two values").to_string();
        assert!(error.contains("pause-ms"), "{error}");
    }
}
