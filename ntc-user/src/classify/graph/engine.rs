//! A network computed by ntc itself.

use std::path::Path;

use ntc_common::limits::SEQUENCE_LENGTH;

use super::{Graph, Tensor};
use crate::{
    classify::{Bundle, ModelError},
    features::{FEATURES, FLOW_VALUES},
};

/// Flows that are computed at one time: what lies between two operators stays in the cache, and memory small.
const FLOWS: usize = 16;

/// The graph of a bundle.
#[derive(Debug)]
pub struct Engine {
    graph: Graph,
    input: String,
    output: String,
}

impl Engine {
    /// Reads the bundle's graph.
    pub fn new(bundle: &Bundle, onnxruntime: Option<&Path>) -> Result<Self, ModelError> {
        let refused = |message: String| ModelError::Runtime { model: bundle.title(), message };
        if let Some(path) = onnxruntime {
            return Err(refused(format!("this small build does without ONNX Runtime ({})", path.display())));
        }
        let graph = Graph::read(&bundle.onnx).map_err(|error| refused(error.to_string()))?;
        let manifest = &bundle.manifest;
        Ok(Self { graph, input: manifest.input.name.clone(), output: manifest.output.name.clone() })
    }

    /// Gives the probabilities of all flows to `take`.
    pub fn run(
        &mut self,
        features: &[f32],
        flows: usize,
        take: impl FnOnce(&[f32]) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut probabilities = Vec::new();
        for features in features[..flows * FLOW_VALUES].chunks(FLOWS * FLOW_VALUES) {
            let shape = vec![features.len() / FLOW_VALUES, SEQUENCE_LENGTH, FEATURES.len()];
            let input = Tensor::float(shape, features.to_vec());
            let output = self.graph.compute(&self.input, input, &self.output).map_err(|e| e.to_string())?;
            probabilities.extend_from_slice(output.floats().map_err(str::to_owned)?);
        }
        take(&probabilities)
    }

    /// Makes it fail from now on.
    #[cfg(test)]
    pub fn spoil(&mut self) {
        self.output.push_str(" that is not there");
    }
}
