//! What the packages say of their origin: a bill of materials (CycloneDX 1.5), and the licence texts of all that ships.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::shipped::Crate;
use crate::{setup, workspace};

/// Bundles that the package brings: the first is in the binary.
const BUNDLES: [&str; 2] = ["residual-prior", "cnn-rnn-2a"];

/// Writes the bill of materials beside the packages. `time` is the commit's, in seconds.
pub fn materials(path: &Path, runtime: &Path, crates: &[Crate], time: &str) -> Result<()> {
    let mut components: Vec<Value> = crates
        .iter()
        .map(|package| {
            let Crate { name, version, licence, .. } = package;
            let mut component = json!({
                "type": "library", "name": name, "version": version,
                "licenses": [{ "expression": licence.replace('/', " OR ") }],
            });
            if package.from_registry {
                component["purl"] = format!("pkg:cargo/{name}@{version}").into();
            }
            component
        })
        .collect();
    components.push(json!({
        "type": "library", "name": "onnxruntime", "version": setup::ONNX_RUNTIME_VERSION,
        "purl": format!("pkg:pypi/onnxruntime@{}", setup::ONNX_RUNTIME_VERSION),
        "licenses": [{ "license": { "id": "MIT" } }],
        "hashes": [{ "alg": "SHA-256", "content": digest(&runtime.join("libonnxruntime.so"))? }],
    }));
    for name in BUNDLES {
        let graph = bundle(name).join("model.onnx");
        components.push(json!({
            "type": "machine-learning-model", "name": name,
            "hashes": [{ "alg": "SHA-256", "content": digest(&graph)? }],
        }));
    }
    let date =
        workspace::output(workspace::command("date").args(["-u", "-d", &format!("@{time}"), "+%FT%TZ"]))?;
    let bill = json!({
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {
            "timestamp": date.trim(),
            "component": { "type": "application", "name": "ntc", "version": env!("CARGO_PKG_VERSION") },
        },
        "components": components,
    });
    fs::write(path, format!("{}\n", serde_json::to_string_pretty(&bill)?))?;
    Ok(())
}

/// Writes the licence texts into one file: each text once, under the names of the crates that come with it.
pub fn licences(path: &Path, crates: &[Crate]) -> Result<()> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut without = Vec::new();
    for package in crates.iter().filter(|package| package.from_registry) {
        let name = format!("{} {} ({})", package.name, package.version, package.licence);
        let found = package.texts()?;
        if found.is_empty() {
            without.push(name.clone());
        }
        for (_, text) in found {
            texts.entry(text.trim().to_owned()).or_default().push(name.clone());
        }
    }
    let mut out = String::from("Licences of the crates that are compiled into ntc.\n");
    if !without.is_empty() {
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "\nWithout a text of their own (the licence's usual text holds): {}",
            without.join(", ")
        );
    }
    let mut texts: Vec<_> = texts.into_iter().collect();
    texts.sort_by(|(_, a), (_, b)| a.cmp(b));
    for (text, names) in texts {
        let _ = write!(out, "\n{}\n{}\n\n{text}\n", "=".repeat(78), names.join("\n"));
    }
    fs::create_dir_all(path.parent().context("no folder")?)?;
    fs::write(path, out)?;
    Ok(())
}

fn bundle(name: &str) -> PathBuf {
    workspace::root().join("models").join(name)
}

fn digest(path: &Path) -> Result<String> {
    let sum = workspace::output(workspace::command("sha256sum").arg(path))?;
    Ok(sum.split_whitespace().next().unwrap_or_default().to_owned())
}
