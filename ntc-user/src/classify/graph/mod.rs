//! Answers without ONNX Runtime, for the small build: the graph's operators one after the other, on one thread, in Rust
//! alone. What it knows is what networks like the shipped one are made of; a graph with something else is refused by
//! name. That it computes the same as the network that was trained, each bundle's test vectors show.

mod arrange;
mod convolve;
mod element;
#[cfg(not(feature = "onnxruntime"))]
pub mod engine;
mod multiply;
mod operator;
mod proto;
mod reduce;
mod tensor;

use std::{collections::HashMap, sync::Arc};

use thiserror::Error;

pub use self::tensor::Tensor;
use self::{operator::Operator, proto::Node};

/// A graph that cannot be read or computed.
#[derive(Debug, Error)]
pub enum GraphError {
    /// Not the format of ONNX.
    #[error("not an ONNX graph: {0}")]
    Format(&'static str),
    /// Made of something that the small build does not know.
    #[error("the small build does not know the operator {0}; the build with ONNX Runtime does")]
    Unknown(String),
    /// Tensors that do not go together.
    #[error("{operator} ({node}): {what}")]
    Operands {
        /// Which operator.
        operator: String,
        /// Which node of the graph.
        node: String,
        /// What does not fit.
        what: &'static str,
    },
    /// The graph has no such input or output.
    #[error("the graph has no {0:?}")]
    Name(String),
}

/// A step: an operator, where its operands are, and where its result goes.
#[derive(Debug)]
struct Step {
    operator: Operator,
    kind: String,
    name: String,
    operands: Vec<Option<usize>>,
    result: usize,
    /// Operands that nobody asks for afterwards.
    last: Vec<usize>,
}

impl Step {
    fn refused(&self, what: &'static str) -> GraphError {
        GraphError::Operands { operator: self.kind.clone(), node: self.name.clone(), what }
    }
}

/// A graph that is ready to be computed.
#[derive(Debug)]
pub struct Graph {
    steps: Vec<Step>,
    places: HashMap<String, usize>,
    constants: Vec<(usize, Arc<Tensor>)>,
}

impl Graph {
    /// Reads a graph in ONNX's format.
    ///
    /// # Errors
    /// It is none, or has an operator that is not known.
    pub fn read(bytes: &[u8]) -> Result<Self, GraphError> {
        let proto::Graph { nodes, constants } = proto::read(bytes)?;
        let mut graph = Self { steps: Vec::new(), places: HashMap::new(), constants: Vec::new() };
        for (name, tensor) in constants {
            let place = graph.place(&name);
            graph.constants.push((place, Arc::new(tensor)));
        }
        for mut node in nodes {
            if node.kind == "Constant" {
                let tensor =
                    node.take_tensor("value").ok_or(GraphError::Format("a constant without a value"))?;
                let name =
                    node.results.first().cloned().ok_or(GraphError::Format("a constant without a name"))?;
                let place = graph.place(&name);
                graph.constants.push((place, Arc::new(tensor)));
            } else {
                graph.push(node)?;
            }
        }
        graph.free_early();
        Ok(graph)
    }

    fn push(&mut self, node: Node) -> Result<(), GraphError> {
        let operator = Operator::of(&node)?;
        let operands: Vec<_> =
            node.operands.iter().map(|name| (!name.is_empty()).then(|| self.place(name))).collect();
        let [result] = &node.results[..] else {
            return Err(GraphError::Format("a node with several results"));
        };
        let result = self.place(result);
        let name = node.results.into_iter().next().unwrap_or_default();
        let mut step = Step { operator, kind: node.kind, name, operands, result, last: Vec::new() };
        self.turn(&mut step)?;
        self.steps.push(step);
        Ok(())
    }

    /// Turns a matrix of weights once, not for each batch. Constants come before the nodes that ask for them.
    fn turn(&mut self, step: &mut Step) -> Result<(), GraphError> {
        let Some(&Some(place)) = step.operands.get(1) else { return Ok(()) };
        let Some((_, constant)) = self.constants.iter().find(|(of, _)| *of == place) else { return Ok(()) };
        if let Some(turned) = step.operator.turn(constant).map_err(|what| step.refused(what))? {
            let place = self.place(&format!("{place} turned for {}", step.name));
            self.constants.push((place, Arc::new(turned)));
            step.operands[1] = Some(place);
        }
        Ok(())
    }

    fn place(&mut self, name: &str) -> usize {
        let next = self.places.len();
        *self.places.entry(name.to_owned()).or_insert(next)
    }

    /// Notes after which step a value is no longer asked for, and drops constants that no step asks for.
    fn free_early(&mut self) {
        let mut seen = vec![false; self.places.len()];
        for step in self.steps.iter_mut().rev() {
            for place in step.operands.iter().flatten() {
                if !std::mem::replace(&mut seen[*place], true) {
                    step.last.push(*place);
                }
            }
        }
        self.constants.retain(|(place, _)| seen[*place]);
    }

    /// Computes an output from an input.
    ///
    /// # Errors
    /// No such input or output, or tensors that do not go together.
    pub fn compute(&self, input: &str, tensor: Tensor, output: &str) -> Result<Tensor, GraphError> {
        let place =
            |name: &str| self.places.get(name).copied().ok_or_else(|| GraphError::Name(name.to_owned()));
        let (input, output) = (place(input)?, place(output)?);
        let mut values: Vec<Option<Arc<Tensor>>> = vec![None; self.places.len()];
        for (place, constant) in &self.constants {
            values[*place] = Some(Arc::clone(constant));
        }
        values[input] = Some(Arc::new(tensor));
        for step in &self.steps {
            let operand = |place: &Option<usize>| place.and_then(|place| values[place].as_deref());
            let operands: Vec<_> = step.operands.iter().map(operand).collect();
            let result = step.operator.compute(&operands).map_err(|what| step.refused(what))?;
            for place in step.last.iter().filter(|place| **place != output) {
                values[*place] = None;
            }
            values[step.result] = Some(Arc::new(result));
        }
        let found = values[output].take().ok_or(GraphError::Format("its output is never computed"))?;
        Ok(Arc::try_unwrap(found).unwrap_or_else(|shared| shared.as_ref().clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{classify::Bundle, features::FEATURES};
    use ntc_common::limits::SEQUENCE_LENGTH;

    #[test]
    fn it_gives_the_answers_of_the_bundles() {
        for name in ["residual-prior", "residual-prior-small"] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(name);
            let bundle = Bundle::open(&folder).expect(name);
            let graph = Graph::read(&bundle.onnx).expect("all operators are known");
            let features: Vec<f32> = bundle.vectors.packets.iter().flatten().copied().collect();
            let flows = features.len() / (SEQUENCE_LENGTH * FEATURES.len());
            let input = Tensor::float(vec![flows, SEQUENCE_LENGTH, FEATURES.len()], features);
            let manifest = &bundle.manifest;
            let output = graph.compute(&manifest.input.name, input, &manifest.output.name).expect("computed");
            let apart = bundle.vectors.difference(output.floats().expect("probabilities"));
            assert!(apart <= bundle.vectors.tolerance, "{name}: {apart} apart");
        }
    }

    #[test]
    fn what_is_no_graph_is_refused() {
        for bytes in [&b""[..], b"nonsense", &[0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f], &[0x3a, 0x05, 0x0a]] {
            assert!(
                Graph::read(bytes)
                    .and_then(|graph| {
                        graph.compute("packets", Tensor::float(vec![0], Vec::new()), "probabilities")
                    })
                    .is_err()
            );
        }
        let whole = Bundle::shipped().expect("whole").onnx;
        for cut in (0..whole.len()).step_by(9973) {
            // Cut off anywhere: never a panic.
            let _ = Graph::read(&whole[..cut]);
        }
    }
}
