//! ONNX Runtime.

use std::path::Path;

use super::{Finding, Verdict};
use crate::classify::library;

pub(super) fn check(named: Option<&Path>) -> Finding {
    match library::environment(named) {
        Ok(_) => {
            let path = library::locate(named).map(|place| place.path).unwrap_or_default();
            let path = path.canonicalize().unwrap_or(path);
            // "ORT Build Info: git-branch=rel-1.24.1, git-commit-id=…, …"
            let built =
                ort::info().trim_start_matches("ORT Build Info: ").split(", ").next().unwrap_or_default();
            Finding::new(
                "onnxruntime",
                Verdict::Ok,
                format!("{} ({built})", path.display()),
                "the model can be run",
            )
        }
        Err(error) => {
            Finding::new("onnxruntime", Verdict::Fail, error.to_string(), "there is nobody to ask for labels")
                .advice("put libonnxruntime.so into /usr/lib/ntc, or name it by --onnxruntime")
        }
    }
}
