//! A model with all that it needs to be understood and checked: `model.onnx`, `model.toml` and `vectors.json`.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use flate2::read::ZlibDecoder;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::{
    manifest::Manifest,
    selection::SelectionError,
    store::{Place, Store},
    vectors::Vectors,
};

/// A file of the bundle that is compiled into the binary: `build.rs` says which.
macro_rules! built_in {
    ($file:literal) => {
        concat!(env!("CARGO_MANIFEST_DIR"), "/../models/", env!("NTC_BUILT_IN"), "/", $file)
    };
}

/// The graph, packed with zlib.
const DEFAULT_ONNX: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/model.onnx.z"));
const DEFAULT_TOML: &str = include_str!(built_in!("model.toml"));
const DEFAULT_VECTORS: &[u8] = include_bytes!(built_in!("vectors.json"));

/// A bundle that cannot be used, and why.
#[derive(Debug, Error)]
pub enum BundleError {
    /// No bundle is called so.
    #[error(
        "model bundle: none is called {name:?}; looked in {looked}, and there is the built-in {built_in:?}"
    )]
    NotFound {
        /// What was asked for.
        name: String,
        /// Folders of bundles.
        looked: String,
        /// Name of the bundle in the binary.
        built_in: String,
    },
    /// What `ntc model use` wrote.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// A file of the bundle cannot be read.
    #[error("model bundle: {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// `model.toml` is not what it should be.
    #[error("model bundle: {origin}: {source}")]
    Manifest {
        /// Where the manifest is from.
        origin: String,
        /// Place and mistake.
        source: Box<toml::de::Error>,
    },
    /// The model was made for other features.
    #[error("model bundle: {origin}: another feature schema: {what}")]
    Schema {
        /// Where the manifest is from.
        origin: String,
        /// What it reads.
        what: String,
    },
    /// Labels or a confidence that no answer can be made of.
    #[error("model bundle: {origin}: [output] {what}")]
    Output {
        /// Where the manifest is from.
        origin: String,
        /// What is wrong.
        what: String,
    },
    /// A file is not the one that the manifest speaks of.
    #[error("model bundle: {origin}: {file} has SHA-256 {found}, the manifest says {expected}")]
    Digest {
        /// Where the manifest is from.
        origin: String,
        /// Which file.
        file: &'static str,
        /// In the manifest.
        expected: String,
        /// Of the file.
        found: String,
    },
    /// `vectors.json` is not what it should be.
    #[error("model bundle: {origin}: vectors.json: {what}")]
    Vectors {
        /// Where the manifest is from.
        origin: String,
        /// What is wrong.
        what: String,
    },
}

/// A bundle that was read and found whole.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// What the model is.
    pub manifest: Manifest,
    /// The graph.
    pub onnx: Vec<u8>,
    /// By which graph and runtime are checked.
    pub vectors: Vectors,
    /// Where it is from.
    pub place: Place,
}

impl Bundle {
    /// The bundle of a name or path; else the one that was chosen by `ntc model use`; else the one that this binary
    /// carries.
    ///
    /// # Errors
    /// There is none, or what does not fit.
    pub fn load(named: Option<&Path>, store: &Store) -> Result<Self, BundleError> {
        let selected = match named {
            Some(_) => None,
            None => store.selected()?,
        };
        let Some(name) = named.or(selected.as_deref()) else { return Self::shipped() };
        if let Some(folder) = store.find(name) {
            return Self::open(&folder);
        }
        let shipped = Self::shipped()?;
        if Path::new(&shipped.manifest.model.name) == name {
            return Ok(shipped);
        }
        let looked: Vec<_> = store.folders().iter().map(|folder| folder.display().to_string()).collect();
        Err(BundleError::NotFound {
            name: name.display().to_string(),
            looked: looked.join(", "),
            built_in: shipped.manifest.model.name,
        })
    }

    /// The bundle of a place.
    ///
    /// # Errors
    /// What is missing or does not fit.
    pub fn at(place: &Place) -> Result<Self, BundleError> {
        match place {
            Place::BuiltIn => Self::shipped(),
            Place::Folder(folder) => Self::open(folder),
        }
    }

    /// The bundle that this binary carries.
    ///
    /// # Errors
    /// None in a build whose tests passed.
    pub fn shipped() -> Result<Self, BundleError> {
        Self::check("the built-in bundle", DEFAULT_TOML, unpacked(DEFAULT_ONNX), DEFAULT_VECTORS)
    }

    /// Reads a bundle's folder.
    ///
    /// # Errors
    /// What is missing or does not fit.
    pub fn open(folder: &Path) -> Result<Self, BundleError> {
        let read = |name| {
            let path = folder.join(name);
            fs::read(&path).map_err(|source| BundleError::Read { path, source })
        };
        let path = folder.join("model.toml");
        let manifest =
            fs::read_to_string(&path).map_err(|source| BundleError::Read { path: path.clone(), source })?;
        let (graph, vectors) = (read("model.onnx")?, read("vectors.json")?);
        let bundle = Self::check(&path.display().to_string(), &manifest, graph, &vectors)?;
        Ok(Self { place: Place::Folder(folder.to_path_buf()), ..bundle })
    }

    /// Puts a bundle together of the text of `model.toml`, the graph and the text of `vectors.json`; `origin` stands
    /// for the manifest in messages.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check(origin: &str, manifest: &str, onnx: Vec<u8>, vectors: &[u8]) -> Result<Self, BundleError> {
        let manifest = Manifest::parse(origin, manifest)?;
        let digest = &manifest.digest;
        for (file, bytes, expected) in [
            ("model.onnx", &onnx[..], &digest.onnx_sha256),
            ("vectors.json", vectors, &digest.vectors_sha256),
        ] {
            let found: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            if !found.eq_ignore_ascii_case(expected) {
                return Err(BundleError::Digest {
                    origin: origin.into(),
                    file,
                    expected: expected.clone(),
                    found,
                });
            }
        }
        let vectors = Vectors::parse(origin, vectors, manifest.output.labels.len())?;
        Ok(Self { manifest, onnx, vectors, place: Place::BuiltIn })
    }

    /// `name version`.
    pub fn title(&self) -> String {
        format!("{} {}", self.manifest.model.name, self.manifest.model.version)
    }
}

/// What `build.rs` packed. Were it damaged, its digest would not be the manifest's.
fn unpacked(packed: &[u8]) -> Vec<u8> {
    // Told beforehand, so that there is never a second, half as long.
    let mut bytes = Vec::with_capacity(env!("NTC_BUILT_IN_BYTES").parse().unwrap_or(0));
    let _ = ZlibDecoder::new(packed).read_to_end(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(from: &str, to: &str) -> String {
        assert!(DEFAULT_TOML.contains(from), "{from}");
        let text = DEFAULT_TOML.replacen(from, to, 1);
        match Bundle::check("m.toml", &text, unpacked(DEFAULT_ONNX), DEFAULT_VECTORS) {
            Ok(_) => panic!("{to} was taken"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn an_output_that_no_answer_can_be_made_of_is_refused() {
        for confidence in ["nan", "-0.1", "1.5", "inf"] {
            let said = refusal("min_confidence = ", &format!("min_confidence = {confidence} # "));
            assert!(said.contains("is not from 0 to 1"), "{said}");
        }
        let said = refusal("labels = [", "labels = [\"DNS\", \"DNS\", ");
        assert!(said.contains("\"DNS\" is listed twice"), "{said}");
        let said = refusal("ids = [", "ids = [1, ");
        assert!(said.contains("ids: ") && said.contains("entries for"), "{said}");
        let said = refusal("\"DNS\"", "\"Brand-new\"");
        assert!(said.contains("Brand-new") && said.contains("newer ntc"), "{said}");
        let said = refusal("    5,", "    6,");
        assert!(said.contains("\"DNS\" is (id, protocol, its id, class) (6, "), "{said}");
    }

    #[test]
    fn another_schema_is_refused() {
        for (from, to) in [
            ("\"payload_len\"", "\"frame_len\""),
            ("\"microseconds\"", "\"milliseconds\""),
            ("sequence_length = 20", "sequence_length = 10"),
            ("padding = 0", "padding = -1"),
        ] {
            let said = refusal(from, to);
            assert!(said.contains("another feature schema"), "{said}");
        }
    }

    #[test]
    fn other_files_than_the_manifests_are_refused() {
        let check =
            |onnx: &[u8], vectors: &[u8]| Bundle::check("m.toml", DEFAULT_TOML, onnx.to_vec(), vectors);
        let onnx = unpacked(DEFAULT_ONNX);
        assert!(check(&onnx, DEFAULT_VECTORS).is_ok());
        let said = check(&onnx[1..], DEFAULT_VECTORS).expect_err("another graph").to_string();
        assert!(said.contains("model.onnx has SHA-256"), "{said}");
        let said = check(&onnx, b"{}").expect_err("other vectors").to_string();
        assert!(said.contains("vectors.json has SHA-256"), "{said}");
    }

    #[test]
    fn names_that_mean_nothing_say_where_was_looked() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(Some(folder.path()));
        let shipped = Bundle::shipped().expect("whole");
        let by_name = Bundle::load(Some(Path::new(&shipped.manifest.model.name)), &store).expect("built in");
        assert_eq!(by_name.place, Place::BuiltIn);
        let said = Bundle::load(Some(Path::new("nonsense")), &store).expect_err("no such").to_string();
        assert!(said.contains("nonsense") && said.contains(&folder.path().display().to_string()), "{said}");
    }
}
