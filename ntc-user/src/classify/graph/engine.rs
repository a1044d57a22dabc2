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
}

impl Engine {
    /// Reads the bundle's graph.
    pub fn new(bundle: &Bundle, onnxruntime: Option<&Path>) -> Result<Self, ModelError> {
        let refused = |message: String| ModelError::Runtime { model: bundle.title(), message };
        if let Some(path) = onnxruntime {
            return Err(refused(format!("this small build does without ONNX Runtime ({})", path.display())));
        }
        let graph = Graph::read(&bundle.onnx).map_err(|error| refused(error.to_string()))?;
        Ok(Self { graph })
    }

    /// Gives the probabilities of all flows to `take`: what comes to `output` of the features at `input`.
    pub fn run(
        &mut self,
        (input, output): (&str, &str),
        features: &[f32],
        flows: usize,
        take: impl FnOnce(&[f32]) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut probabilities = Vec::new();
        for features in features[..flows * FLOW_VALUES].chunks(FLOWS * FLOW_VALUES) {
            let shape = vec![features.len() / FLOW_VALUES, SEQUENCE_LENGTH, FEATURES.len()];
            let features = Tensor::float(shape, features.to_vec());
            let computed = self.graph.compute(input, features, output).map_err(|e| e.to_string())?;
            probabilities.extend_from_slice(computed.floats().map_err(str::to_owned)?);
        }
        take(&probabilities)
    }
}
