//! Which crates are in the binary: what its packages say of their origin is made from this list.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::workspace;

/// Packages of the workspace that ship: the agent, and the kernel programs inside it.
const ROOTS: [&str; 2] = ["ntc-user", "ntc-ebpf"];
/// Names of files with licence texts begin so.
const TEXTS: [&str; 4] = ["LICENSE", "LICENCE", "COPYING", "NOTICE"];

/// A crate.
#[derive(Debug)]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SPDX expression.
    pub licence: String,
    /// It is from the crate registry, not of this workspace.
    pub from_registry: bool,
    folder: PathBuf,
}

impl Crate {
    /// Its licence files, by name.
    pub fn texts(&self) -> Result<Vec<(String, String)>> {
        let mut texts = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let upper = name.to_uppercase();
            if entry.file_type()?.is_file() && TEXTS.iter().any(|start| upper.starts_with(start)) {
                let text = fs::read(entry.path())?;
                texts.push((name, String::from_utf8_lossy(&text).into_owned()));
            }
        }
        texts.sort();
        Ok(texts)
    }
}

/// All crates that are compiled into what ships for an architecture, by name and version. Procedural macros and what
/// build scripts use write code and are not in it.
pub fn crates(target: &str) -> Result<Vec<Crate>> {
    let mut cargo = workspace::cargo();
    cargo.args(["metadata", "--format-version=1", "--locked", "--filter-platform", target]);
    let metadata: Value = serde_json::from_str(&workspace::output(&mut cargo)?)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let packages: BTreeMap<String, Value> =
        list(&metadata["packages"]).into_iter().map(|package| (text(&package["id"]), package)).collect();
    let is_macro = |id: &str| {
        let targets = packages.get(id).map(|package| list(&package["targets"])).unwrap_or_default();
        targets.iter().any(|target| list(&target["kind"]).iter().any(|kind| kind == "proc-macro"))
    };
    let nodes: BTreeMap<String, Value> =
        list(&metadata["resolve"]["nodes"]).into_iter().map(|node| (text(&node["id"]), node)).collect();
    let mut open: Vec<String> = packages
        .iter()
        .filter(|(_, package)| ROOTS.iter().any(|root| package["name"] == *root))
        .map(|(id, _)| id.clone())
        .collect();
    let mut found = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !found.insert(id.clone()) {
            continue;
        }
        for dependency in list(&nodes[&id]["deps"]) {
            let ships = list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
            let id = text(&dependency["pkg"]);
            if ships && !is_macro(&id) {
                open.push(id);
            }
        }
    }
    let mut crates = Vec::new();
    for id in found {
        let package = packages.get(&id).with_context(|| format!("cargo knows no {id}"))?;
        let manifest = text(&package["manifest_path"]);
        let licence = package["license"].as_str().or(package["license_file"].as_str());
        crates.push(Crate {
            name: text(&package["name"]),
            version: text(&package["version"]),
            licence: licence.with_context(|| format!("{id} names no licence"))?.to_owned(),
            from_registry: package["source"].is_string(),
            folder: Path::new(&manifest).parent().map(Path::to_path_buf).unwrap_or_default(),
        });
    }
    crates.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(crates)
}
