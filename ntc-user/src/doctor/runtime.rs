//! ONNX Runtime.

#[cfg(feature = "onnxruntime")]
use std::fs;
use std::path::Path;

use super::{Finding, Verdict};
#[cfg(feature = "onnxruntime")]
use crate::classify::library;

#[cfg(not(feature = "onnxruntime"))]
pub(super) fn check(_named: Option<&Path>) -> Finding {
    Finding::new("onnxruntime", Verdict::Ok, "this is the small build", "ntc computes the model itself")
}

#[cfg(feature = "onnxruntime")]
pub(super) fn check(named: Option<&Path>) -> Finding {
    match library::environment(named) {
        Ok(_) => {
            let path = library::locate(named).map(|place| place.path).unwrap_or_default();
            let path = path.canonicalize().unwrap_or(path);
            let version = version(&path).unwrap_or_else(|| "of unknown version".into());
            let found = format!("{version}, {}", path.display());
            Finding::new("onnxruntime", Verdict::Ok, found, "the model can be run")
        }
        Err(error) => {
            Finding::new("onnxruntime", Verdict::Fail, error.to_string(), "there is nobody to ask for labels")
                .advice("put libonnxruntime.so into /usr/lib/ntc, or name it by --onnxruntime")
        }
    }
}

/// The version under which the library exports its symbols, such as `VERS_1.24.1`: its interface tells none that the
/// bindings pass on.
#[cfg(feature = "onnxruntime")]
fn version(library: &Path) -> Option<String> {
    const PREFIX: &[u8] = b"\0VERS_";
    let bytes = fs::read(library).ok()?;
    let start = bytes.windows(PREFIX.len()).position(|window| window == PREFIX)? + PREFIX.len();
    let version =
        bytes[start..].iter().map_while(|byte| matches!(byte, b'0'..=b'9' | b'.').then_some(*byte as char));
    Some(version.collect()).filter(|version: &String| !version.is_empty())
}
