//! From captures and truth to the label file, with nDPI's view of the same flows beside it.

use std::path::Path;

use anyhow::Result;

use crate::{setup::LABELLING, workspace};

/// Writes `labels.csv` and `report.json`, and prints the report.
pub(super) fn label(ntc: &Path, out: &Path) -> Result<()> {
    let flows = out.join("flows.parquet");
    let captures = ["standard", "random"].map(|folder| out.join(folder));
    let captures =
        captures.iter().filter(|folder| folder.read_dir().is_ok_and(|mut files| files.next().is_some()));
    let mut extract = workspace::command(ntc);
    extract.args(["extract", "--flow-rule", "corpus", "-o"]).arg(&flows).args(captures);
    workspace::run(&mut extract)?;
    let mut python = workspace::command(LABELLING.python());
    python.env("PYTHONPATH", workspace::root().join("models"));
    workspace::run(python.args(["-m", "ntc_models.generated"]).arg(out))
}
