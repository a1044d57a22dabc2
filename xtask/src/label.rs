//! `label`: nDPI's labels for captures with payload, as `ntc eval` and training read them.

use std::path::{self, Path, PathBuf};

use anyhow::Result;
use clap::Args;

use crate::{
    build::{self, Profile},
    setup::{self, LABELLING, Scope},
    workspace,
};

/// What to label.
#[derive(Args)]
pub struct Arguments {
    /// pcap or pcapng files with payload, also .gz and .zst, or folders of them
    #[arg(required = true, value_name = "CAPTURE")]
    captures: Vec<PathBuf>,
    /// Label file to write
    #[arg(short, long, value_name = "CSV")]
    output: PathBuf,
    /// Whose captures: one group when flows are split; each capture is its own otherwise
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
}

/// The verb.
pub fn main(arguments: &Arguments) -> Result<()> {
    setup::ensure(&[Scope::Build, Scope::Label])?;
    let ntc = build::agent(Profile::Release)?;
    let folder = workspace::target()?.join("label");
    std::fs::create_dir_all(&folder)?;
    let flows = folder.join(format!("flows.{}.parquet", std::process::id()));
    let labelled = label(arguments, &ntc, &flows);
    // Not there where it could not be written.
    let _ = std::fs::remove_file(&flows);
    labelled
}

fn label(arguments: &Arguments, ntc: &Path, flows: &Path) -> Result<()> {
    // Commands run in the root.
    let captures: Vec<PathBuf> = arguments.captures.iter().map(path::absolute).collect::<Result<_, _>>()?;
    let mut extract = workspace::command(ntc);
    extract.args(["extract", "--flow-rule", "corpus", "-o"]).arg(flows).args(&captures);
    workspace::run(&mut extract)?;
    let mut python = workspace::command(LABELLING.python());
    python.env("PYTHONPATH", workspace::root().join("models")).args(["-m", "ntc_models.label", "--flows"]);
    python.arg(flows).arg("--output").arg(path::absolute(&arguments.output)?);
    if let Some(source) = &arguments.source {
        python.arg("--source").arg(source);
    }
    workspace::run(python.args(&captures))
}
