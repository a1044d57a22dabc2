//! A model with all that it needs to be understood: `model.onnx` and `model.toml`.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use ntc_common::limits::SEQUENCE_LENGTH;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::features::FEATURES;

/// The bundle that is compiled into the binary.
const DEFAULT_ONNX: &[u8] = include_bytes!("../../../models/cnn-rnn-2a/model.onnx");
const DEFAULT_TOML: &str = include_str!("../../../models/cnn-rnn-2a/model.toml");

/// A bundle that cannot be used, and why.
#[derive(Debug, Error)]
pub enum BundleError {
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
    #[error(
        "model bundle: {origin}: it reads {found:?}, this ntc gives {FEATURES:?} of {SEQUENCE_LENGTH} packets"
    )]
    Schema {
        /// Where the manifest is from.
        origin: String,
        /// What it reads.
        found: Vec<String>,
    },
    /// Labels or a confidence that no answer can be made of.
    #[error("model bundle: {origin}: [output] {what}")]
    Output {
        /// Where the manifest is from.
        origin: String,
        /// What is wrong.
        what: String,
    },
    /// `model.onnx` is not the file that the manifest speaks of.
    #[error("model bundle: {origin}: model.onnx has SHA-256 {found}, the manifest says {expected}")]
    Digest {
        /// Where the manifest is from.
        origin: String,
        /// In the manifest.
        expected: String,
        /// Of the file.
        found: String,
    },
}

/// `model.toml`: what a model is.
#[derive(Clone, Debug, Deserialize)]
pub struct Manifest {
    /// Name and origin.
    pub model: ModelSection,
    /// What it reads.
    pub input: InputSection,
    /// What it answers.
    pub output: OutputSection,
    /// Of which files it speaks.
    pub digest: DigestSection,
}

/// `[model]`
#[derive(Clone, Debug, Deserialize)]
pub struct ModelSection {
    /// Name of the bundle.
    pub name: String,
    /// Version of the bundle.
    pub version: String,
}

/// `[input]`
#[derive(Clone, Debug, Deserialize)]
pub struct InputSection {
    /// Name of the graph's input, float32 \[flows, sequence length, features\].
    pub name: String,
    /// Packets of a flow.
    pub sequence_length: usize,
    /// Features of a packet, in order.
    pub features: Vec<String>,
}

/// `[output]`
#[derive(Clone, Debug, Deserialize)]
pub struct OutputSection {
    /// Name of the graph's output, float32 \[flows, labels\], probabilities.
    pub name: String,
    /// Service names of `models/services.csv`, in output order.
    pub labels: Vec<String>,
    /// Answers below are unknown.
    pub min_confidence: f32,
}

impl OutputSection {
    fn mistake(&self) -> Option<String> {
        // NaN is in no range: with it every comparison would fail, and no answer be unsure.
        if !(0.0..=1.0).contains(&self.min_confidence) {
            return Some(format!("min_confidence: {} is not from 0 to 1", self.min_confidence));
        }
        if self.labels.is_empty() {
            return Some("labels: there are none".into());
        }
        let mut seen = BTreeSet::new();
        let twice = self.labels.iter().find(|label| !seen.insert(*label))?;
        Some(format!("labels: {twice:?} is listed twice"))
    }
}

/// `[digest]`
#[derive(Clone, Debug, Deserialize)]
pub struct DigestSection {
    /// SHA-256 of `model.onnx`, hexadecimal.
    pub onnx_sha256: String,
}

/// A bundle that was read and found whole.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// What the model is.
    pub manifest: Manifest,
    /// The graph.
    pub onnx: Cow<'static, [u8]>,
}

impl Bundle {
    /// The bundle that this binary carries.
    ///
    /// # Errors
    /// None in a build whose tests passed.
    pub fn shipped() -> Result<Self, BundleError> {
        Self::check("the built-in bundle", DEFAULT_TOML, Cow::Borrowed(DEFAULT_ONNX))
    }

    /// Reads a bundle's folder.
    ///
    /// # Errors
    /// What is missing or does not fit.
    pub fn open(folder: &Path) -> Result<Self, BundleError> {
        let manifest = folder.join("model.toml");
        let onnx = folder.join("model.onnx");
        let text = fs::read_to_string(&manifest)
            .map_err(|source| BundleError::Read { path: manifest.clone(), source })?;
        let graph = fs::read(&onnx).map_err(|source| BundleError::Read { path: onnx, source })?;
        Self::check(&manifest.display().to_string(), &text, Cow::Owned(graph))
    }

    /// Puts a bundle together of the text of `model.toml` and the graph; `origin` stands for the text in messages.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check(origin: &str, manifest: &str, onnx: Cow<'static, [u8]>) -> Result<Self, BundleError> {
        let manifest: Manifest = toml::from_str(manifest)
            .map_err(|source| BundleError::Manifest { origin: origin.into(), source: Box::new(source) })?;
        if manifest.input.features != FEATURES || manifest.input.sequence_length != SEQUENCE_LENGTH {
            return Err(BundleError::Schema { origin: origin.into(), found: manifest.input.features });
        }
        if let Some(what) = manifest.output.mistake() {
            return Err(BundleError::Output { origin: origin.into(), what });
        }
        let found: String = Sha256::digest(&onnx).iter().map(|byte| format!("{byte:02x}")).collect();
        if !found.eq_ignore_ascii_case(&manifest.digest.onnx_sha256) {
            let expected = manifest.digest.onnx_sha256;
            return Err(BundleError::Digest { origin: origin.into(), expected, found });
        }
        Ok(Self { manifest, onnx })
    }

    /// `name version`.
    pub fn title(&self) -> String {
        format!("{} {}", self.manifest.model.name, self.manifest.model.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_that_no_answer_can_be_made_of_is_refused() {
        let error = |from: &str, to: &str| {
            assert!(DEFAULT_TOML.contains(from), "{from}");
            let text = DEFAULT_TOML.replacen(from, to, 1);
            match Bundle::check("m.toml", &text, Cow::Borrowed(DEFAULT_ONNX)) {
                Ok(_) => panic!("{to} was taken"),
                Err(error) => error.to_string(),
            }
        };
        for confidence in ["nan", "-0.1", "1.5", "inf"] {
            let said = error("min_confidence = ", &format!("min_confidence = {confidence} # "));
            assert!(said.contains("is not from 0 to 1"), "{said}");
        }
        let said = error("labels = [", "labels = [\"DNS\", \"DNS\", ");
        assert!(said.contains("\"DNS\" is listed twice"), "{said}");
    }
}
