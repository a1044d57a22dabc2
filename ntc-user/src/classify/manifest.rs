//! `model.toml`: what a model is. Written by `models/ntc_models/export.py`.

use std::collections::BTreeSet;

use ntc_common::limits::SEQUENCE_LENGTH;
use serde::{Deserialize, Serialize};

use super::bundle::BundleError;
use crate::{
    catalogue::{Catalogue, class_name},
    features::{FEATURES, UNITS},
};

/// `model.toml`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Manifest {
    /// Name and origin.
    pub model: ModelSection,
    /// What it reads.
    pub input: InputSection,
    /// What it answers.
    pub output: OutputSection,
    /// How its probabilities were made honest.
    pub calibration: CalibrationSection,
    /// Of which files it speaks.
    pub digest: DigestSection,
    /// How it was trained, for people.
    #[serde(default)]
    pub training: toml::Table,
    /// How good it was, for people.
    #[serde(default)]
    pub evaluation: toml::Table,
}

/// `[model]`
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ModelSection {
    /// Name of the bundle.
    pub name: String,
    /// Version of the bundle.
    pub version: String,
    /// Name of the network's architecture.
    pub architecture: String,
    /// SPDX expression.
    pub license: String,
}

/// `[input]`
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct InputSection {
    /// Name of the graph's input, float32 \[flows, sequence length, features\].
    pub name: String,
    /// Packets of a flow.
    pub sequence_length: usize,
    /// Features of a packet, in order.
    pub features: Vec<String>,
    /// In which unit each is.
    pub units: Vec<String>,
    /// What stands where a flow has no packet.
    pub padding: i64,
}

/// `[output]`
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct OutputSection {
    /// Name of the graph's output, float32 \[flows, labels\], probabilities.
    pub name: String,
    /// Answers below are unknown.
    pub min_confidence: f32,
    /// Service names of `models/services.csv`, in output order.
    pub labels: Vec<String>,
    /// The id of each label there.
    pub ids: Vec<u16>,
    /// The protocol of each label.
    pub protocols: Vec<String>,
    /// nDPI's id of that protocol; 0: the catalogue has none.
    pub protocol_ids: Vec<u16>,
    /// The class of each label.
    pub classes: Vec<String>,
}

/// `[calibration]`
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CalibrationSection {
    /// By which the graph divides its logits.
    pub temperature: f32,
}

/// `[digest]`
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct DigestSection {
    /// SHA-256 of `model.onnx`, hexadecimal.
    pub onnx_sha256: String,
    /// SHA-256 of `vectors.json`, hexadecimal.
    pub vectors_sha256: String,
    /// SHA-256 of tensors, labels and groups that it was trained on, hexadecimal.
    pub training_data_sha256: String,
}

impl Manifest {
    /// Reads the text of `model.toml` and looks whether this ntc can use such a model; `origin` stands for the text in
    /// messages.
    ///
    /// # Errors
    /// What does not fit.
    pub fn parse(origin: &str, text: &str) -> Result<Self, BundleError> {
        let manifest: Self = toml::from_str(text)
            .map_err(|source| BundleError::Manifest { origin: origin.into(), source: Box::new(source) })?;
        if let Some(what) = manifest.input.mistake() {
            return Err(BundleError::Schema { origin: origin.into(), what });
        }
        match manifest.output.mistake() {
            Some(what) => Err(BundleError::Output { origin: origin.into(), what }),
            None => Ok(manifest),
        }
    }
}

impl InputSection {
    /// Why this ntc cannot give what the model reads.
    fn mistake(&self) -> Option<String> {
        let differs = self.features != FEATURES
            || self.units != UNITS
            || self.sequence_length != SEQUENCE_LENGTH
            || self.padding != 0;
        differs.then(|| {
            format!(
                "it reads {:?} in {:?} of {} packets padded with {}; this ntc gives {FEATURES:?} in {UNITS:?} of \
                 {SEQUENCE_LENGTH} packets padded with 0",
                self.features, self.units, self.sequence_length, self.padding
            )
        })
    }
}

impl OutputSection {
    /// Why no label can be made of what it answers.
    fn mistake(&self) -> Option<String> {
        // NaN is in no range: with it every comparison would fail, and no answer be unsure.
        if !(0.0..=1.0).contains(&self.min_confidence) {
            return Some(format!("min_confidence: {} is not from 0 to 1", self.min_confidence));
        }
        if self.labels.is_empty() {
            return Some("labels: there are none".into());
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = self.labels.iter().find(|label| !seen.insert(*label)) {
            return Some(format!("labels: {twice:?} is listed twice"));
        }
        let count = self.labels.len();
        let lists = [
            ("ids", self.ids.len()),
            ("protocols", self.protocols.len()),
            ("protocol_ids", self.protocol_ids.len()),
            ("classes", self.classes.len()),
        ];
        if let Some((name, length)) = lists.into_iter().find(|(_, length)| *length != count) {
            return Some(format!("{name}: {length} entries for {count} labels"));
        }
        (0..count).find_map(|index| self.differs(index))
    }

    /// How a label differs from the catalogue's entry.
    fn differs(&self, index: usize) -> Option<String> {
        let (label, id) = (&self.labels[index], self.ids[index]);
        let catalogue = Catalogue::shipped();
        let Some(service) = catalogue.by_name(label) else {
            return Some(format!(
                "labels: {label:?} (id {id}) is not in this ntc's catalogue, models/services.csv: the bundle is for a \
                 newer ntc"
            ));
        };
        let protocol_id = catalogue.by_name(&service.protocol).map_or(0, |protocol| protocol.id);
        let ours = (service.id, service.protocol.as_str(), protocol_id, class_name(service.class));
        let theirs =
            (id, self.protocols[index].as_str(), self.protocol_ids[index], self.classes[index].as_str());
        (ours != theirs).then(|| {
            format!(
                "labels: {label:?} is (id, protocol, its id, class) {theirs:?}, and {ours:?} in this ntc's catalogue"
            )
        })
    }
}
