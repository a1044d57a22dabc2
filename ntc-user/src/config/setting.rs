//! What an option of `ntc run` comes to, and who said so.

use std::env;

use clap::{ArgAction, Command};
use serde::Serialize;

use super::{ConfigError, VERB, key, options, over_file, values};

/// Who said it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Nobody.
    Default,
    /// The configuration file.
    File,
    /// An environment variable.
    Environment,
}

/// An option that may stand in the file.
#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    /// Its long name.
    pub key: String,
    /// What it comes to, in the file's words; `None`: it has no default, and nobody said anything.
    pub value: Option<String>,
    /// Who said so.
    pub source: Source,
    /// The environment variable that comes before the file.
    pub variable: String,
    /// What it does, with its unit.
    pub help: String,
    /// Heading of the help that it stands under, if any.
    #[serde(skip)]
    pub heading: Option<String>,
    /// What may be chosen; empty where anything of its kind may.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// Several values may be given.
    pub list: bool,
    /// What stands for a value in the help.
    #[serde(skip)]
    pub placeholder: String,
}

/// All options, as the file and this process's environment have them.
///
/// # Errors
/// The file cannot be used.
pub fn settings(command: Command, path: Option<&str>) -> Result<Vec<Setting>, ConfigError> {
    let plain = command.clone();
    let command = match path {
        Some(path) => over_file(command, path)?,
        None => command,
    };
    let told = |command: &Command| {
        let matches = command.clone().try_get_matches_from(["ntc", VERB]);
        let matches = matches.map_err(|error| ConfigError::Usage(super::first_line(&error)))?;
        let run = matches.subcommand_matches(VERB).cloned().unwrap_or_default();
        Ok(values(command, &run))
    };
    let (now, without_file) = (told(&command)?, told(&plain)?);
    let setting = |option: &clap::Arg| {
        let key = key(option).to_owned();
        let variable = option.get_env().unwrap_or_default().to_string_lossy().into_owned();
        let words = now.get(&key).cloned().unwrap_or_default();
        let source = if env::var_os(&variable).is_some() {
            Source::Environment
        } else if without_file.get(&key) != Some(&words) {
            Source::File
        } else {
            Source::Default
        };
        let list = matches!(option.get_action(), ArgAction::Append);
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let choices = option.get_possible_values();
        let takes_value = option.get_action().takes_values();
        let choices = choices.iter().filter(|choice| takes_value && !choice.is_hide_set());
        Setting {
            value: (!words.is_empty()).then(|| text(&words, list)),
            source,
            variable,
            help: option.get_help().map(ToString::to_string).unwrap_or_default(),
            heading: option.get_help_heading().map(str::to_owned),
            choices: choices.map(|choice| choice.get_name().to_owned()).collect(),
            list,
            placeholder: option
                .get_value_names()
                .map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
                .unwrap_or_default(),
            key,
        }
    };
    Ok(options(&command).map(setting).collect())
}

/// In the file's words.
fn text(words: &[String], list: bool) -> String {
    let word = |word: &String| {
        let plain = word == "true" || word == "false" || word.parse::<i64>().is_ok();
        // As TOML writes it, escapes included.
        if plain { word.clone() } else { toml::Value::String(word.clone()).to_string() }
    };
    match words {
        [single] if !list => word(single),
        words => format!("[{}]", words.iter().map(word).collect::<Vec<_>>().join(", ")),
    }
}
