//! A loaded model: features in, answers out.

use std::path::Path;

use ntc_common::limits::SEQUENCE_LENGTH;
use ort::{
    session::{Session, SessionOutputs},
    value::TensorRef,
};
use thiserror::Error;

use crate::{
    classify::{
        bundle::{Bundle, BundleError},
        library::{self, LibraryError},
        vocabulary::{Answer, Vocabulary},
    },
    features::{FEATURES, FLOW_VALUES},
};

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
    /// Its answers are not those that the bundle says it gives.
    #[error(
        "model {model}: its answers to the bundle's test vectors are {apart} apart from those in vectors.json, and may \
         be {tolerance}: this ONNX Runtime computes something else than the network that was trained"
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

/// A session of ONNX Runtime with its labels. One thread: several models run side by side instead.
#[derive(Debug)]
pub struct Model {
    session: Session,
    title: String,
    input: String,
    output: String,
    vocabulary: Vocabulary,
    min_confidence: f32,
}

impl Model {
    /// Loads a bundle and lets it answer its test vectors.
    ///
    /// # Errors
    /// No library, a graph that ONNX Runtime refuses, or other answers than the bundle's.
    pub fn new(bundle: &Bundle, onnxruntime: Option<&Path>) -> Result<Self, ModelError> {
        let environment = library::environment(onnxruntime)?;
        let title = bundle.title();
        let runtime = |message: String| ModelError::Runtime { model: title.clone(), message };
        let session = Session::builder(environment)
            .map_err(|error| runtime(error.to_string()))?
            .with_intra_threads(1)
            .map_err(|error| runtime(error.to_string()))?
            .commit_from_memory(&bundle.onnx)
            .map_err(|error| runtime(error.to_string()))?;
        let output = &bundle.manifest.output;
        let vocabulary = Vocabulary::new(&output.labels)
            .map_err(|label| ModelError::UnknownLabel { model: title.clone(), label })?;
        let mut model = Self {
            session,
            input: bundle.manifest.input.name.clone(),
            output: output.name.clone(),
            vocabulary,
            min_confidence: output.min_confidence,
            title,
        };
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
        self.output.push_str(" that is not there");
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
    /// What ONNX Runtime said; nothing is appended then.
    pub fn classify(&mut self, features: &[f32], answers: &mut Vec<Answer>) -> Result<(), ModelError> {
        let min_confidence = self.min_confidence;
        self.run(features, |vocabulary, row| answers.push(vocabulary.answer(row).at_least(min_confidence)))
    }

    /// As [`classify`](Self::classify), but the likeliest answer however unsure.
    ///
    /// # Errors
    /// What ONNX Runtime said; nothing is appended then.
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
        let Self { session, title, input, output, vocabulary, .. } = self;
        let runtime = |message: String| ModelError::Runtime { model: title.clone(), message };
        let shape = [flows, SEQUENCE_LENGTH, FEATURES.len()];
        let tensor = TensorRef::from_array_view((shape, features)).map_err(|e| runtime(e.to_string()))?;
        let outputs: SessionOutputs<'_> = session
            .run(ort::inputs![input.as_str() => tensor])
            .map_err(|error| runtime(error.to_string()))?;
        let output = outputs
            .get(output.as_str())
            .ok_or_else(|| runtime(format!("the graph has no output {output:?}")))?;
        let (_, probabilities) =
            output.try_extract_tensor::<f32>().map_err(|error| runtime(error.to_string()))?;
        if probabilities.len() != flows * vocabulary.len() {
            let found = probabilities.len();
            return Err(runtime(format!("{found} probabilities for {flows} flows")));
        }
        let labels = vocabulary.len();
        probabilities.chunks_exact(labels).for_each(|row| take(vocabulary, row));
        Ok(())
    }
}
