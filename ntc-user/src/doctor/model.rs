//! The model bundle.

use std::path::Path;

use super::{Finding, Verdict};
use crate::classify::{Bundle, Store};

pub(super) fn check(named: Option<&Path>, store: &Store) -> Finding {
    match Bundle::load(named, store) {
        Ok(bundle) => {
            let digest: String = bundle.manifest.digest.onnx_sha256.chars().take(12).collect();
            let found =
                format!("{} ({}), SHA-256 {digest}… as its manifest says", bundle.title(), bundle.place);
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
