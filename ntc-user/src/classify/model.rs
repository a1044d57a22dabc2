//! A loaded model: features in, answers out.

use ort::{session::Session, value::TensorRef};
use thiserror::Error;

use crate::{
    catalogue::{Catalogue, UNKNOWN},
    classify::{
        bundle::{Bundle, BundleError, Manifest},
        library::{self, LibraryError},
    },
    features::{FEATURES, FLOW_VALUES},
};
use ntc_common::limits::SEQUENCE_LENGTH;
use std::path::Path;

/// A model that cannot be loaded or run.
#[derive(Debug, Error)]
pub enum ModelError {
    /// No ONNX Runtime.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// No usable bundle.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A label that the catalogue does not know.
    #[error("model {model}: its label {label:?} is not in models/services.csv")]
    UnknownLabel {
        /// Which model.
        model: String,
        /// Which label.
        label: String,
    },
    /// ONNX Runtime refused.
    #[error("model {model}: ONNX Runtime: {message}")]
    Runtime {
        /// Which model.
        model: String,
        /// What it said.
        message: String,
    },
}

/// What a model says of a flow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// The most probable service of the most probable protocol; 0: unknown.
    pub service: u16,
    /// Its QoS class.
    pub class: u8,
    /// Probability of that protocol, over all its services.
    pub confidence: f32,
}

/// A label of the model.
#[derive(Debug)]
struct Label {
    service: u16,
    class: u8,
    /// Index of its protocol among the model's protocols.
    protocol: usize,
}

/// A session of ONNX Runtime with its labels. One thread: several models run side by side instead.
#[derive(Debug)]
pub struct Model {
    session: Session,
    title: String,
    manifest: Manifest,
    input: String,
    output: String,
    labels: Vec<Label>,
    min_confidence: f32,
    /// Room for the probability of each protocol.
    protocols: Vec<f32>,
}

impl Model {
    /// Loads a bundle's folder, or the bundle in the binary.
    ///
    /// # Errors
    /// No library, no usable bundle, or a graph that ONNX Runtime refuses.
    pub fn load(folder: Option<&Path>, onnxruntime: Option<&Path>) -> Result<Self, ModelError> {
        let bundle = match folder {
            Some(folder) => Bundle::open(folder)?,
            None => Bundle::shipped()?,
        };
        let environment = library::environment(onnxruntime)?;
        let title = bundle.title();
        let runtime = |message: String| ModelError::Runtime { model: title.clone(), message };
        let session = Session::builder(environment)
            .map_err(|error| runtime(error.to_string()))?
            .with_intra_threads(1)
            .map_err(|error| runtime(error.to_string()))?
            .commit_from_memory(&bundle.onnx)
            .map_err(|error| runtime(error.to_string()))?;

        let catalogue = Catalogue::shipped();
        let (mut labels, mut protocols) = (Vec::new(), Vec::<&str>::new());
        for label in &bundle.manifest.output.labels {
            let service = catalogue
                .by_name(label)
                .ok_or_else(|| ModelError::UnknownLabel { model: title.clone(), label: label.clone() })?;
            let protocol =
                protocols.iter().position(|known| *known == service.protocol).unwrap_or_else(|| {
                    protocols.push(&service.protocol);
                    protocols.len() - 1
                });
            labels.push(Label { service: service.id, class: service.class, protocol });
        }
        Ok(Self {
            session,
            manifest: bundle.manifest.clone(),
            input: bundle.manifest.input.name,
            output: bundle.manifest.output.name,
            labels,
            min_confidence: bundle.manifest.output.min_confidence,
            protocols: vec![0.0; protocols.len()],
            title,
        })
    }

    /// `name version`.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// What it is.
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Answers for `features.len() / FLOW_VALUES` flows, appended to `answers` in their order.
    ///
    /// # Errors
    /// What ONNX Runtime said; nothing is appended then.
    pub fn classify(&mut self, features: &[f32], answers: &mut Vec<Answer>) -> Result<(), ModelError> {
        let flows = features.len() / FLOW_VALUES;
        if flows == 0 {
            return Ok(());
        }
        let runtime = |message: String| ModelError::Runtime { model: self.title.clone(), message };
        let shape = [flows, SEQUENCE_LENGTH, FEATURES.len()];
        let tensor = TensorRef::from_array_view((shape, features)).map_err(|e| runtime(e.to_string()))?;
        let outputs = self
            .session
            .run(ort::inputs![self.input.as_str() => tensor])
            .map_err(|error| runtime(error.to_string()))?;
        let output = outputs
            .get(self.output.as_str())
            .ok_or_else(|| runtime(format!("the graph has no output {:?}", self.output)))?;
        let (_, probabilities) =
            output.try_extract_tensor::<f32>().map_err(|error| runtime(error.to_string()))?;
        if probabilities.len() != flows * self.labels.len() {
            let found = probabilities.len();
            return Err(runtime(format!("{found} probabilities for {flows} flows")));
        }
        answers.extend(
            probabilities
                .chunks_exact(self.labels.len())
                .map(|row| answer(&self.labels, &mut self.protocols, self.min_confidence, row)),
        );
        Ok(())
    }
}

fn answer(labels: &[Label], protocols: &mut [f32], min_confidence: f32, row: &[f32]) -> Answer {
    let unknown = |confidence| Answer { service: UNKNOWN, class: 0, confidence };
    // A graph that answers NaN answers nothing.
    if !row.iter().all(|probability| probability.is_finite()) {
        return unknown(0.0);
    }
    protocols.fill(0.0);
    for (label, probability) in labels.iter().zip(row) {
        protocols[label.protocol] += probability;
    }
    let best = protocols.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    let Some((protocol, confidence)) = best.map(|(index, sum)| (index, sum.min(1.0))) else {
        return unknown(0.0);
    };
    let service = labels
        .iter()
        .zip(row)
        .filter(|(label, _)| label.protocol == protocol)
        .max_by(|a, b| a.1.total_cmp(b.1))
        .map(|(label, _)| label);
    match service {
        Some(label) if confidence >= min_confidence => {
            Answer { service: label.service, class: label.class, confidence }
        }
        _ => unknown(confidence),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_of_one_protocol_speak_together() {
        let label = |service, protocol| Label { service, class: 2, protocol };
        let labels = [label(91, 0), label(1024, 0), label(7, 1)];
        let mut room = [0.0; 2];
        let said = answer(&labels, &mut room, 0.5, &[0.25, 0.35, 0.4]);
        assert_eq!((said.service, said.class), (1024, 2));
        assert!((said.confidence - 0.6).abs() < 1e-6);
        let unsure = answer(&labels, &mut room, 0.7, &[0.25, 0.35, 0.4]);
        assert_eq!((unsure.service, unsure.class), (UNKNOWN, 0));
    }
    #[test]
    fn a_graph_that_answers_nan_answers_nothing() {
        let labels = [Label { service: 7, class: 2, protocol: 0 }];
        let said = answer(&labels, &mut [0.0], 0.5, &[f32::NAN]);
        assert_eq!(said, Answer { service: UNKNOWN, class: 0, confidence: 0.0 });
    }
}
