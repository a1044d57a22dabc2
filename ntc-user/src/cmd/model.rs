//! `ntc model`: the bundles that are there, and which of them answers.

use std::{
    io::{Write, stdout},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::{
    classify::{Bundle, Model, Place, Store},
    cli::{LiveFormat, ModelAction, ModelVerbArgs, StoreArgs},
    kernel::owner,
};

/// Runs the verb.
///
/// # Errors
/// No such bundle, one that is refused, or an agent that cannot be told.
pub fn run(args: &ModelVerbArgs) -> anyhow::Result<ExitCode> {
    match &args.action {
        ModelAction::List { store, format } => list(&store.store(), *format)?,
        ModelAction::Show { name, store, format } => show(&load(name.as_deref(), store)?, *format)?,
        ModelAction::Verify { name, store, onnxruntime } => {
            let bundle = load(name.as_deref(), store)?;
            prove(&bundle, onnxruntime.as_deref())?;
        }
        ModelAction::Use { name, previous, store, onnxruntime, pins } => {
            let store = store.store();
            let model =
                if *previous { store.previous()? } else { name.as_deref().map(lasting).transpose()? };
            let bundle = match &model {
                Some(model) => Bundle::load(Some(model), &store)?,
                None => Bundle::shipped()?,
            };
            prove(&bundle, onnxruntime.as_deref())?;
            store.select(model)?;
            tell(&pins.pin_dir)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn load(name: Option<&Path>, store: &StoreArgs) -> anyhow::Result<Bundle> {
    Ok(Bundle::load(name, &store.store())?)
}

/// A name stays one; a path is made absolute, for an agent that runs elsewhere.
fn lasting(name: &Path) -> anyhow::Result<PathBuf> {
    if Store::is_name(name) {
        return Ok(name.to_path_buf());
    }
    std::path::absolute(name).with_context(|| name.display().to_string())
}

/// What is found of a bundle, broken ones included.
struct Entry {
    place: Place,
    outcome: Result<Bundle, String>,
}

fn list(store: &Store, format: LiveFormat) -> anyhow::Result<()> {
    let mut entries: Vec<Entry> = vec![Place::BuiltIn]
        .into_iter()
        .chain(store.list().into_iter().map(Place::Folder))
        .map(|place| Entry { outcome: Bundle::at(&place).map_err(|error| error.to_string()), place })
        .collect();
    // What answers where nothing else is asked for.
    let current = Bundle::load(None, store).map(|bundle| bundle.place).ok();
    let mut out = stdout().lock();
    if format == LiveFormat::Table {
        writeln!(
            out,
            "{:<1} {:<20} {:<8} {:<20} {:>6} {:>9} {:>9}  PLACE",
            "", "NAME", "VERSION", "ARCHITECTURE", "LABELS", "ACCURACY", "MACRO F1"
        )?;
    }
    for Entry { place, outcome } in entries.drain(..) {
        let selected = current.as_ref() == Some(&place);
        match (outcome, format) {
            (Ok(bundle), LiveFormat::Table) => {
                let model = &bundle.manifest.model;
                let figure = |key| {
                    strangers(&bundle, "protocol", key).map_or("-".to_owned(), |value| format!("{value:.3}"))
                };
                writeln!(
                    out,
                    "{:<1} {:<20} {:<8} {:<20} {:>6} {:>9} {:>9}  {place}",
                    if selected { "*" } else { "" },
                    model.name,
                    model.version,
                    model.architecture,
                    bundle.manifest.output.labels.len(),
                    figure("accuracy"),
                    figure("macro_f1")
                )?;
            }
            (Ok(bundle), LiveFormat::Json) => {
                let model = &bundle.manifest.model;
                let line = json!({
                    "name": model.name, "version": model.version, "architecture": model.architecture,
                    "labels": bundle.manifest.output.labels.len(), "place": place.to_string(), "selected": selected,
                    "onnx_sha256": bundle.manifest.digest.onnx_sha256,
                });
                writeln!(out, "{line}")?;
            }
            (Err(error), LiveFormat::Table) => writeln!(out, "! {error}")?,
            (Err(error), LiveFormat::Json) => {
                writeln!(
                    out,
                    "{}",
                    json!({ "place": place.to_string(), "selected": selected, "error": error })
                )?;
            }
        }
    }
    if format == LiveFormat::Table {
        writeln!(
            out,
            "\n*: answers where no option names another. Accuracy and macro F1: protocols, on repositories that the \
             model was not trained on."
        )?;
    }
    Ok(())
}

/// A figure of the repositories that the model was not trained on.
fn strangers(bundle: &Bundle, level: &str, key: &str) -> Option<f64> {
    bundle.manifest.evaluation.get("by_repository")?.get(level)?.get(key)?.as_float()
}

fn show(bundle: &Bundle, format: LiveFormat) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    let manifest = &bundle.manifest;
    if format == LiveFormat::Json {
        serde_json::to_writer(&mut out, manifest)?;
        return Ok(writeln!(out)?);
    }
    let (model, output, digest) = (&manifest.model, &manifest.output, &manifest.digest);
    for (name, value) in [
        ("name", model.name.clone()),
        ("version", model.version.clone()),
        ("architecture", model.architecture.clone()),
        ("licence", model.license.clone()),
        ("place", bundle.place.to_string()),
        (
            "reads",
            format!("{} packets: {}", manifest.input.sequence_length, manifest.input.features.join(", ")),
        ),
        ("labels", output.labels.len().to_string()),
        ("least confidence", output.min_confidence.to_string()),
        ("temperature", manifest.calibration.temperature.to_string()),
        ("SHA-256 of graph", digest.onnx_sha256.clone()),
        ("SHA-256 of vectors", digest.vectors_sha256.clone()),
        ("SHA-256 of training data", digest.training_data_sha256.clone()),
    ] {
        writeln!(out, "{name:<26} {value}")?;
    }
    for (key, value) in &manifest.training {
        writeln!(out, "{:<26} {}", format!("training: {key}"), plain(value))?;
    }
    writeln!(
        out,
        "\n{:<26} {:>9} {:>12} {:>9} {:>9} {:>9}",
        "on other repositories", "accuracy", "weighted F1", "macro F1", "off-port", "ECE"
    )?;
    for level in ["service", "protocol", "class"] {
        let figure =
            |key| strangers(bundle, level, key).map_or("-".to_owned(), |value| format!("{value:.4}"));
        writeln!(
            out,
            "{level:<26} {:>9} {:>12} {:>9} {:>9} {:>9}",
            figure("accuracy"),
            figure("weighted_f1"),
            figure("macro_f1"),
            figure("off_port_accuracy"),
            figure("ece")
        )?;
    }
    Ok(())
}

/// Text without its quotes.
fn plain(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Loads the bundle and lets it answer its test vectors.
fn prove(bundle: &Bundle, onnxruntime: Option<&Path>) -> anyhow::Result<()> {
    Model::new(bundle, onnxruntime)?;
    let vectors = &bundle.vectors;
    writeln!(
        stdout(),
        "ntc: {} ({}): digests as its manifest says, {} labels of this catalogue, {} test flows answered within {}",
        bundle.title(),
        bundle.place,
        bundle.manifest.output.labels.len(),
        vectors.packets.len(),
        vectors.tolerance
    )?;
    Ok(())
}

/// Asks the agent of these pins, if one runs, to follow.
fn tell(pin_dir: &Path) -> anyhow::Result<()> {
    let Some(agent) = owner::of_pins(pin_dir) else {
        writeln!(stdout(), "ntc: no agent runs on {}; the next one starts with it", pin_dir.display())?;
        return Ok(());
    };
    let Some(pid) = i32::try_from(agent.pid).ok().and_then(Pid::from_raw) else {
        bail!("{agent} is no process");
    };
    kill_process(pid, Signal::HUP).with_context(|| format!("the agent ({agent}) cannot be told"))?;
    writeln!(
        stdout(),
        "ntc: the agent ({agent}) was told; it checks the bundle once more and says in its output what came of it"
    )?;
    Ok(())
}
