//! A loaded model: features in, answers out.

use std::path::Path;

use thiserror::Error;

#[cfg(not(feature = "onnxruntime"))]
use super::graph::engine::Engine;
#[cfg(feature = "onnxruntime")]
use super::{library::LibraryError, session::Engine};
use crate::{
    classify::{
        bundle::{Bundle, BundleError},
        vocabulary::{Answer, Vocabulary},
    },
    features::FLOW_VALUES,
};

/// A model that cannot be loaded or run.
#[derive(Debug, Error)]
pub enum ModelError {
    /// No ONNX Runtime.
    #[cfg(feature = "onnxruntime")]
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
    /// What computes it refused: ONNX Runtime, or in the small build ntc itself.
    #[error("model {model}: {message}")]
    Runtime {
        /// Which model.
        model: String,
        /// Who refused, and why.
        message: String,
    },
    /// Its answers are not those that the bundle says it gives.
    #[error(
        "model {model}: its answers to the bundle's test vectors are {apart} apart from those in vectors.json, and may \
         be {tolerance}: it is computed otherwise here than where it was trained"
    )]
    Vectors {
        /// Which model.
        model: String,
        /// Largest difference of a probability.
        apart: f32,
        /// As the bundle allows.
        tolerance: f32,
    },
}

/// A network that is ready, with its labels. One thread: several models run side by side instead.
#[derive(Debug)]
pub struct Model {
    engine: Engine,
    /// Names of the graph's input and output.
    ends: (String, String),
    title: String,
    vocabulary: Vocabulary,
    min_confidence: f32,
}

impl Model {
    /// Loads a bundle and lets it answer its test vectors.
    ///
    /// # Errors
    /// No library, a graph that is refused, or other answers than the bundle's.
    pub fn new(bundle: &Bundle, onnxruntime: Option<&Path>) -> Result<Self, ModelError> {
        let engine = Engine::new(bundle, onnxruntime)?;
        let title = bundle.title();
        let (input, output) = (&bundle.manifest.input, &bundle.manifest.output);
        let ends = (input.name.clone(), output.name.clone());
        let vocabulary = Vocabulary::new(&output.labels)
            .map_err(|label| ModelError::UnknownLabel { model: title.clone(), label })?;
        let mut model = Self { engine, ends, vocabulary, min_confidence: output.min_confidence, title };
        model.prove(bundle)?;
        Ok(model)
    }

    /// Answers the bundle's test vectors.
    fn prove(&mut self, bundle: &Bundle) -> Result<(), ModelError> {
        let features: Vec<f32> = bundle.vectors.packets.iter().flatten().copied().collect();
        let mut probabilities = Vec::new();
        self.run(&features, |_, row| probabilities.extend_from_slice(row))?;
        let (apart, tolerance) = (bundle.vectors.difference(&probabilities), bundle.vectors.tolerance);
        if apart <= tolerance {
            return Ok(());
        }
        Err(ModelError::Vectors { model: self.title.clone(), apart, tolerance })
    }

    /// Makes it fail from now on.
    #[cfg(test)]
    pub(crate) fn spoil(&mut self) {
        self.ends.1.push_str(" that is not there");
    }

    /// `name version`.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// Its labels.
    pub const fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Answers for `features.len() / FLOW_VALUES` flows, appended to `answers` in their order; unknown where the model
    /// is not sure enough.
    ///
    /// # Errors
    /// It cannot be computed; nothing is appended then.
    pub fn classify(&mut self, features: &[f32], answers: &mut Vec<Answer>) -> Result<(), ModelError> {
        let min_confidence = self.min_confidence;
        self.run(features, |vocabulary, row| answers.push(vocabulary.answer(row).at_least(min_confidence)))
    }

    /// As [`classify`](Self::classify), but the likeliest answer however unsure.
    ///
    /// # Errors
    /// It cannot be computed; nothing is appended then.
    pub fn likeliest(&mut self, features: &[f32], answers: &mut Vec<Answer>) -> Result<(), ModelError> {
        self.run(features, |vocabulary, row| answers.push(vocabulary.answer(row)))
    }

    /// Gives the probabilities of each flow to `take`, if there are as many as there should be.
    fn run(
        &mut self,
        features: &[f32],
        mut take: impl FnMut(&mut Vocabulary, &[f32]),
    ) -> Result<(), ModelError> {
        let flows = features.len() / FLOW_VALUES;
        if flows == 0 {
            return Ok(());
        }
        let Self { engine, ends: (input, output), title, vocabulary, .. } = self;
        let labels = vocabulary.len();
        let taken = engine.run((input, output), features, flows, |probabilities| {
            if probabilities.len() != flows * labels {
                return Err(format!("{} probabilities for {flows} flows", probabilities.len()));
            }
            probabilities.chunks_exact(labels).for_each(|row| take(vocabulary, row));
            Ok(())
        });
        taken.map_err(|message| ModelError::Runtime { model: title.clone(), message })
    }
}
