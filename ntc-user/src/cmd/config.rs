//! `ntc config`: mistakes in the configuration file, and what counts.

use std::{
    ffi::OsString,
    io::{Write as _, stdout},
    path::Path,
    process::ExitCode,
};

use anyhow::bail;
use clap::CommandFactory as _;
use serde_json::json;

use crate::{
    api::auth::Tokens,
    classify::Bundle,
    cli::{Cli, ConfigAction, ConfigCheckArgs, ConfigShowArgs, RunArgs},
    config::{self, ConfigError, FILE, Source},
    kernel::attach::requests::Requests,
    policy::{Mistake, Policy},
};

/// Runs the verb.
///
/// # Errors
/// What the action could not do.
pub fn run(action: &ConfigAction) -> anyhow::Result<ExitCode> {
    match action {
        ConfigAction::Check(args) => check(args),
        ConfigAction::Show(args) => show(args),
    }
}

fn check(args: &ConfigCheckArgs) -> anyhow::Result<ExitCode> {
    let name = args.file.display().to_string();
    let words: Vec<OsString> =
        ["ntc".into(), "run".into(), "--config".into(), args.file.clone().into()].into();
    // By key, and with their places where the file itself is wrong.
    let mistakes = match config::again(&words) {
        Ok((options, _)) => of_named_files(&options),
        Err(ConfigError::Mistakes { mistakes, .. }) => mistakes,
        Err(error) => return Err(error.into()),
    };
    let mut out = stdout().lock();
    if args.json {
        let report = json!({ "file": name, "usable": mistakes.is_empty(), "mistakes": mistakes });
        writeln!(out, "{report}")?;
    } else if mistakes.is_empty() {
        writeln!(out, "{name}: usable")?;
    }
    if !args.json {
        for Mistake { line, column, field, what } in &mistakes {
            let place = if *line == 0 { String::new() } else { format!("{line}:{column}:") };
            let colon = if field.is_empty() { "" } else { ": " };
            writeln!(out, "{name}:{place} error: {field}{colon}{what}")?;
        }
    }
    Ok(if mistakes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the options name and cannot be used; no line of the file is wrong (0).
fn of_named_files(options: &RunArgs) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let mut mistake = |field: &str, what: String| {
        mistakes.push(Mistake { line: 0, column: 0, field: field.to_owned(), what });
    };
    match Requests::new(&options.interfaces, &options.capture, &options.enforce) {
        Ok(requests) if !requests.captures() => {
            mistake("iface", "no interface to capture on: name some here, or in capture".into());
        }
        Ok(_) => {}
        Err(error) => mistake("iface", error.to_string()),
    }
    for (key, path) in [("policy", &options.policy), ("shadow-policy", &options.shadow_policy)] {
        if let Some(Err(error)) = path.as_ref().map(|path| Policy::load(Some(path), options.mark_mask)) {
            mistake(key, error.to_string());
        }
    }
    let store = options.model.store.store();
    for (key, name) in [("model", &options.model.model), ("shadow-model", &options.shadow_model)] {
        if let Some(Err(error)) = name.as_ref().map(|name| Bundle::load(Some(name), &store)) {
            mistake(key, error.to_string());
        }
    }
    if let Some(Err(error)) = options.api.api_tokens.as_deref().map(Tokens::load) {
        mistake("api-tokens", error.to_string());
    }
    mistakes
}

fn show(args: &ConfigShowArgs) -> anyhow::Result<ExitCode> {
    let usual = Path::new(FILE);
    let path = args.config.as_deref().or_else(|| usual.exists().then_some(usual));
    let Some(path) = path.map_or(Some(None), |path| path.to_str().map(Some)) else {
        bail!("the file's name is no text");
    };
    let settings = config::settings(Cli::command(), path)?;
    let mut out = stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&settings)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "# {}", path.unwrap_or("no configuration file"))?;
    for setting in settings {
        let source = match setting.source {
            Source::Default => "default".to_owned(),
            Source::File => "file".to_owned(),
            Source::Environment => setting.variable,
        };
        match setting.value {
            Some(value) => writeln!(out, "{:<44} # {source}", format!("{} = {value}", setting.key))?,
            None => writeln!(out, "#{} has no value", setting.key)?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
