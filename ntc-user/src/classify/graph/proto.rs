//! The part of ONNX's format (a protocol buffer, onnx.proto3) that networks for ntc use.

use std::collections::HashMap;

use super::{GraphError, Tensor};

/// What stands in a file.
#[derive(Debug, Default)]
pub struct Graph {
    /// In an order in which they can be computed.
    pub nodes: Vec<Node>,
    /// By name.
    pub constants: Vec<(String, Tensor)>,
}

/// A node.
#[derive(Debug, Default)]
pub struct Node {
    /// Which operator.
    pub kind: String,
    /// Names of its operands; empty for one that is left out.
    pub operands: Vec<String>,
    /// Names of its results.
    pub results: Vec<String>,
    whole: HashMap<String, Vec<i64>>,
    real: HashMap<String, f32>,
    tensors: HashMap<String, Tensor>,
}

impl Node {
    /// An attribute of whole numbers.
    pub fn wholes(&self, name: &str) -> Option<&[i64]> {
        self.whole.get(name).map(Vec::as_slice)
    }

    /// An attribute of one whole number.
    pub fn whole(&self, name: &str) -> Option<i64> {
        self.wholes(name)?.first().copied()
    }

    /// An attribute of one real number.
    pub fn real(&self, name: &str) -> Option<f32> {
        self.real.get(name).copied()
    }

    /// An attribute that is a tensor.
    pub fn take_tensor(&mut self, name: &str) -> Option<Tensor> {
        self.tensors.remove(name)
    }
}

/// A field's number and content.
enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Four([u8; 4]),
}

struct Reader<'a>(&'a [u8]);

const CUT: GraphError = GraphError::Format("it is cut off");

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Result<u64, GraphError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(CUT)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(GraphError::Format("a number without an end"))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], GraphError> {
        let length = usize::try_from(length).map_err(|_| CUT)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(CUT)?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next field with its number; `None` at the end.
    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, GraphError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let field = match key & 7 {
            0 => Field::Number(self.varint()?),
            1 => Field::Bytes(self.take(8)?),
            2 => {
                let length = self.varint()?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Four(self.take(4)?.try_into().map_err(|_| CUT)?),
            _ => return Err(GraphError::Format("a field of no known kind")),
        };
        Ok(Some((key >> 3, field)))
    }
}

/// Calls `each` for every field of a message.
fn fields<'a>(
    bytes: &'a [u8],
    mut each: impl FnMut(u64, Field<'a>) -> Result<(), GraphError>,
) -> Result<(), GraphError> {
    let mut reader = Reader(bytes);
    while let Some((number, field)) = reader.next()? {
        each(number, field)?;
    }
    Ok(())
}

fn text(bytes: &[u8]) -> Result<String, GraphError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| GraphError::Format("a name that is no text"))
}

/// Numbers one by one or packed.
fn numbers(field: &Field<'_>, into: &mut Vec<i64>) -> Result<(), GraphError> {
    match field {
        Field::Number(number) => into.push(*number as i64),
        Field::Bytes(packed) => {
            let mut reader = Reader(packed);
            while !reader.0.is_empty() {
                into.push(reader.varint()? as i64);
            }
        }
        Field::Four(_) => {}
    }
    Ok(())
}

/// Reads a `ModelProto`.
///
/// # Errors
/// It is none.
pub fn read(bytes: &[u8]) -> Result<Graph, GraphError> {
    let mut graph = None;
    fields(bytes, |number, field| {
        // ModelProto.graph
        if let (7, Field::Bytes(bytes)) = (number, field) {
            graph = Some(of_graph(bytes)?);
        }
        Ok(())
    })?;
    graph.ok_or(GraphError::Format("there is no graph in it"))
}

fn of_graph(bytes: &[u8]) -> Result<Graph, GraphError> {
    let mut graph = Graph::default();
    fields(bytes, |number, field| {
        match (number, field) {
            // GraphProto.node, initializer
            (1, Field::Bytes(bytes)) => graph.nodes.push(of_node(bytes)?),
            (5, Field::Bytes(bytes)) => graph.constants.push(of_tensor(bytes)?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(graph)
}

fn of_node(bytes: &[u8]) -> Result<Node, GraphError> {
    let mut node = Node::default();
    fields(bytes, |number, field| {
        match (number, field) {
            // NodeProto.input, output, op_type, attribute
            (1, Field::Bytes(name)) => node.operands.push(text(name)?),
            (2, Field::Bytes(name)) => node.results.push(text(name)?),
            (4, Field::Bytes(name)) => node.kind = text(name)?,
            (5, Field::Bytes(bytes)) => attribute(bytes, &mut node)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(node)
}

fn attribute(bytes: &[u8], node: &mut Node) -> Result<(), GraphError> {
    let (mut name, mut whole, mut real, mut tensor) = (String::new(), Vec::new(), None, None);
    fields(bytes, |number, field| {
        match (number, &field) {
            // AttributeProto.name, f, i, t, ints
            (1, Field::Bytes(bytes)) => name = text(bytes)?,
            (2, Field::Four(bytes)) => real = Some(f32::from_le_bytes(*bytes)),
            (3 | 8, _) => numbers(&field, &mut whole)?,
            (5, Field::Bytes(bytes)) => tensor = Some(of_tensor(bytes)?.1),
            _ => {}
        }
        Ok(())
    })?;
    if let Some(real) = real {
        node.real.insert(name.clone(), real);
    }
    if let Some(tensor) = tensor {
        node.tensors.insert(name.clone(), tensor);
    }
    node.whole.insert(name, whole);
    Ok(())
}

/// A `TensorProto` with its name.
fn of_tensor(bytes: &[u8]) -> Result<(String, Tensor), GraphError> {
    let (mut name, mut shape, mut kind, mut raw) = (String::new(), Vec::new(), 0, None);
    fields(bytes, |number, field| {
        match (number, &field) {
            // TensorProto.dims, data_type, name, raw_data
            (1, _) => numbers(&field, &mut shape)?,
            (2, Field::Number(number)) => kind = *number,
            (8, Field::Bytes(bytes)) => name = text(bytes)?,
            (9, Field::Bytes(bytes)) => raw = Some(*bytes),
            _ => {}
        }
        Ok(())
    })?;
    let shape: Option<Vec<usize>> = shape.into_iter().map(|length| usize::try_from(length).ok()).collect();
    let shape = shape.ok_or(GraphError::Format("a tensor of negative size"))?;
    let raw = raw.ok_or(GraphError::Format("a tensor whose values are not in raw_data"))?;
    let tensor = match kind {
        1 => Tensor::float(shape, raw.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four)).collect()),
        6 => Tensor::whole(
            shape,
            raw.as_chunks().0.iter().map(|four| i32::from_le_bytes(*four).into()).collect(),
        ),
        7 => Tensor::whole(shape, raw.as_chunks().0.iter().map(|eight| i64::from_le_bytes(*eight)).collect()),
        _ => return Err(GraphError::Format("a tensor of neither float, int32 nor int64")),
    };
    if tensor.fits() {
        Ok((name, tensor))
    } else {
        Err(GraphError::Format("a tensor with too many or too few values"))
    }
}
