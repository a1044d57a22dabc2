//! Finding ONNX Runtime's shared library.

use std::{
    env,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use ort::environment::Environment;
use thiserror::Error;

/// Where packages put the library.
const SYSTEM_DIRECTORY: &str = "/usr/lib/ntc";
const LIBRARY: &str = "libonnxruntime.so";
const VARIABLE: &str = "ORT_DYLIB_PATH";

/// The library is not there, or is not what it should be.
#[derive(Debug, Error)]
pub enum LibraryError {
    /// Named by the user and not there.
    #[error("ONNX Runtime: {named_by} names {}, and there is no such file", path.display())]
    NoSuchFile {
        /// What named it.
        named_by: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// There, but it could not be loaded.
    #[error("ONNX Runtime: {} cannot be loaded: {source}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nowhere to be found.
    #[error(
        "ONNX Runtime ({LIBRARY}) was not found. Looked at: --onnxruntime (not given), {VARIABLE} (not set), \
         {}, {SYSTEM_DIRECTORY}/{LIBRARY}, the loader's path. `cargo xtask setup` puts it in place for a \
         checkout; otherwise take it from the PyPI wheel `onnxruntime` and name it by --onnxruntime",
        beside.display()
    )]
    NotFound {
        /// The place beside the binary.
        beside: PathBuf,
        /// What the loader said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Where the library is.
#[derive(Debug)]
pub struct Place {
    /// The file; a bare name is left to the loader.
    pub path: PathBuf,
    /// There is such a file.
    pub certain: bool,
}

/// Looks for the library, in the order in which it would be loaded.
///
/// # Errors
/// It was named, and is not there.
pub fn locate(named: Option<&Path>) -> Result<Place, LibraryError> {
    let from_variable = env::var_os(VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = named {
        return Ok(Place { path: existing("--onnxruntime", path)?, certain: true });
    }
    if let Some(path) = &from_variable {
        return Ok(Place { path: existing(VARIABLE, path)?, certain: true });
    }
    let places = [beside(), Path::new(SYSTEM_DIRECTORY).join(LIBRARY)];
    Ok(match places.into_iter().find(|place| place.exists()) {
        Some(path) => Place { path, certain: true },
        None => Place { path: PathBuf::from(LIBRARY), certain: false },
    })
}

fn beside() -> PathBuf {
    env::current_exe().unwrap_or_default().with_file_name(LIBRARY)
}

/// Loads the library once for the process and returns its environment.
///
/// # Errors
/// Says where it looked.
pub fn environment(named: Option<&Path>) -> Result<&'static Environment, LibraryError> {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    if let Some(environment) = ENVIRONMENT.get() {
        return Ok(environment);
    }
    let Place { path, certain } = locate(named)?;
    let load = |source: Box<dyn std::error::Error + Send + Sync>| {
        if certain {
            LibraryError::Load { path: path.clone(), source }
        } else {
            LibraryError::NotFound { beside: beside(), source }
        }
    };
    let environment = ort::init_from(&path)
        .map_err(|error| load(Box::new(error)))?
        .with_name("ntc")
        .with_telemetry(false)
        .build()
        .map_err(|error| load(error.to_string().into()))?;
    Ok(ENVIRONMENT.get_or_init(|| environment))
}

fn existing(named_by: &'static str, path: &Path) -> Result<PathBuf, LibraryError> {
    if path.is_file() {
        Ok(path.to_path_buf())
    } else {
        Err(LibraryError::NoSuchFile { named_by, path: path.to_path_buf() })
    }
}
