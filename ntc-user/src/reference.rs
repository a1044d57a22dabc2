//! The reference of commands, configuration keys and HTTP paths, written from their definitions.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};
use serde_json::Value;
use thiserror::Error;

use crate::{
    api,
    cli::Cli,
    config::{self, ConfigError},
};

/// It cannot be written.
#[derive(Debug, Error)]
pub enum ReferenceError {
    /// This process's environment has a variable that ntc cannot take.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The API's document.
    #[error(transparent)]
    Document(#[from] serde_json::Error),
}

const HEAD: &str = "\
# Reference

Written from the definitions of the command line and of the query interface; a test compares it with them. Metrics are in
[api.md](api.md#metrics), the query interface whole in [openapi.json](openapi.json).
";

/// The text of `docs/reference.md`.
///
/// # Errors
/// See [`ReferenceError`].
pub fn reference() -> Result<String, ReferenceError> {
    let mut text = HEAD.to_owned();
    text.push_str("\n## Commands\n");
    commands(&mut text, &Cli::command(), "");
    keys(&mut text)?;
    paths(&mut text)?;
    Ok(text)
}

fn commands(text: &mut String, command: &Command, above: &str) {
    let name = format!("{above}{}", command.get_name());
    let below = format!("{name} ");
    let visible = || command.get_subcommands().filter(|below| !below.is_hide_set());
    if visible().next().is_none() {
        // Writing to a string does not fail.
        let _ = write!(text, "\n### `{name}`\n\n{}.\n", about(command));
        let options: Vec<_> = command.get_arguments().filter(|option| !is_help(option)).collect();
        if !options.is_empty() {
            text.push_str("\n| option | variable | default | |\n| --- | --- | --- | --- |\n");
        }
        for option in options {
            let variable = option.get_env().map(|name| format!("`{}`", name.display())).unwrap_or_default();
            let _ = writeln!(
                text,
                "| {} | {variable} | {} | {} |",
                cell(&typed(option)),
                cell(&default(option)),
                plain(&help(option))
            );
        }
    }
    visible().for_each(|command| commands(text, command, &below));
}

fn keys(text: &mut String) -> Result<(), ReferenceError> {
    text.push_str(
        "\n## Configuration keys\n\nOf `/etc/ntc/ntc.toml`. Keys whose change a running agent takes over are marked ↻.\n\n\
         | key | default | |\n| --- | --- | --- |\n",
    );
    for setting in config::settings(Cli::command(), None)? {
        let mark = if crate::reload::KEYS.contains(&setting.key.as_str()) { " ↻" } else { "" };
        let choices = if setting.choices.is_empty() {
            String::new()
        } else {
            format!(" ({})", setting.choices.join(", "))
        };
        let default = setting.value.unwrap_or_default();
        let _ = writeln!(
            text,
            "| `{}`{mark} | {} | {}{choices} |",
            setting.key,
            cell(&default),
            plain(&setting.help)
        );
    }
    Ok(())
}

fn paths(text: &mut String) -> Result<(), ReferenceError> {
    text.push_str("\n## HTTP\n\n| | path | |\n| --- | --- | --- |\n");
    let document: Value = serde_json::from_str(&api::document()?)?;
    for (path, operations) in document["paths"].as_object().into_iter().flatten() {
        for (method, operation) in operations.as_object().into_iter().flatten() {
            let summary =
                operation["summary"].as_str().or(operation["description"].as_str()).unwrap_or_default();
            let first = summary.split("\n\n").next().unwrap_or_default();
            let _ = writeln!(text, "| {} | `{path}` | {} |", method.to_uppercase(), plain(first));
        }
    }
    Ok(())
}

fn is_help(option: &Arg) -> bool {
    matches!(
        option.get_action(),
        clap::ArgAction::Help
            | clap::ArgAction::HelpLong
            | clap::ArgAction::HelpShort
            | clap::ArgAction::Version
    )
}

/// As it is typed.
fn typed(option: &Arg) -> String {
    let names = option.get_value_names().unwrap_or_default();
    let value = names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let value = if option.get_action().takes_values() { value } else { String::new() };
    match option.get_long() {
        Some(long) => format!("--{long} {value}").trim_end().to_owned(),
        None => value,
    }
}

fn default(option: &Arg) -> String {
    if !option.get_action().takes_values() {
        return String::new();
    }
    let defaults = option.get_default_values().iter().map(|value| value.display().to_string());
    defaults.collect::<Vec<_>>().join(", ")
}

fn about(command: &Command) -> String {
    plain(&command.get_about().map(ToString::to_string).unwrap_or_default())
}

fn help(option: &Arg) -> String {
    let choices = option.get_possible_values();
    let names: Vec<_> = choices.iter().map(clap::builder::PossibleValue::get_name).collect();
    let help = option.get_help().map(ToString::to_string).unwrap_or_default();
    if option.get_action().takes_values() && !names.is_empty() {
        format!("{help} ({})", names.join(", "))
    } else {
        help
    }
}

/// On one line, with nothing that ends a cell.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('<', "&lt;")
}

fn cell(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{}`", text.replace('|', "\\|")) }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// `NTC_BLESS=1` writes the file anew.
    #[test]
    fn the_reference_is_that_of_the_definitions() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference.md");
        let made = super::reference().expect("it can be written");
        if std::env::var_os("NTC_BLESS").is_some() {
            fs::write(&path, &made).expect("it can be written");
        }
        let kept = fs::read_to_string(&path).expect("it is there");
        assert!(kept == made, "docs/reference.md is of another version: NTC_BLESS=1 writes it anew");
    }
}
