//! A network computed by ONNX Runtime.

use std::path::Path;

use ntc_common::limits::SEQUENCE_LENGTH;
use ort::{
    session::{Session, SessionOutputs},
    value::TensorRef,
};

use super::{Bundle, ModelError, library};
use crate::features::FEATURES;

/// One thread: several run side by side instead.
#[derive(Debug)]
pub struct Engine {
    session: Session,
}

fn said(error: impl ToString) -> String {
    format!("ONNX Runtime: {}", error.to_string())
}

impl Engine {
    /// Loads the library and the bundle's graph.
    pub fn new(bundle: &Bundle, onnxruntime: Option<&Path>) -> Result<Self, ModelError> {
        let environment = library::environment(onnxruntime)?;
        let refused = |message: String| ModelError::Runtime { model: bundle.title(), message };
        let session = Session::builder(environment)
            .map_err(|error| refused(said(error)))?
            .with_intra_threads(1)
            .map_err(|error| refused(said(error)))?
            .commit_from_memory(&bundle.onnx)
            .map_err(|error| refused(said(error)))?;
        Ok(Self { session })
    }

    /// Gives the probabilities of all flows to `take`: what comes to `output` of the features at `input`.
    pub fn run(
        &mut self,
        (input, output): (&str, &str),
        features: &[f32],
        flows: usize,
        take: impl FnOnce(&[f32]) -> Result<(), String>,
    ) -> Result<(), String> {
        let shape = [flows, SEQUENCE_LENGTH, FEATURES.len()];
        let tensor = TensorRef::from_array_view((shape, features)).map_err(said)?;
        let outputs: SessionOutputs<'_> = self.session.run(ort::inputs![input => tensor]).map_err(said)?;
        let output =
            outputs.get(output).ok_or_else(|| said(format!("the graph has no output {output:?}")))?;
        take(output.try_extract_tensor::<f32>().map_err(said)?.1)
    }
}
