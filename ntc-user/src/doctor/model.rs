//! The model bundle.

use std::path::Path;

use super::{Finding, Verdict};
use crate::classify::Bundle;

pub(super) fn check(folder: Option<&Path>) -> Finding {
    match folder.map_or_else(Bundle::shipped, Bundle::open) {
        Ok(bundle) => {
            let origin = folder.map_or("built in".into(), |folder| folder.display().to_string());
            let digest: String = bundle.manifest.digest.onnx_sha256.chars().take(12).collect();
            let found = format!("{} ({origin}), SHA-256 {digest}… as its manifest says", bundle.title());
            let means = format!("knows {} services", bundle.manifest.output.labels.len());
            Finding::new("model", Verdict::Ok, found, means)
        }
        Err(error) => Finding::new(
            "model",
            Verdict::Fail,
            error.to_string(),
            "`ntc run` does not start with it",
        )
        .advice("take the bundle from where it came from again, or leave --model out for the built-in one"),
    }
}
