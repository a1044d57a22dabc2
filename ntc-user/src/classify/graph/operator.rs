//! Which operators there are, with what the graph says of each.

use super::{
    GraphError, arrange,
    convolve::Convolution,
    element, multiply,
    multiply::Gemm,
    proto::Node,
    reduce,
    tensor::{Outcome, Tensor},
};

/// An operator of ONNX (opset 13) with its attributes.
#[derive(Debug)]
pub enum Operator {
    Abs,
    Add,
    And,
    BatchNormalization { epsilon: f32 },
    Cast { to: i64 },
    Clip,
    Concat { axis: i64 },
    Conv(Convolution),
    CumSum,
    Div,
    Equal,
    Expand,
    Flatten { axis: i64 },
    Floor,
    Gather { axis: i64 },
    Gemm(Gemm),
    Greater,
    Less,
    LessOrEqual,
    Log,
    MatMul,
    Mul,
    Or,
    Range,
    ReduceMax { axes: Vec<i64>, keep: bool },
    ReduceSum { keep: bool },
    Relu,
    Shape,
    Slice,
    Softmax { axis: i64 },
    Softplus,
    Sub,
    Transpose { order: Vec<i64> },
    Unsqueeze,
    Where,
}

impl Operator {
    /// The operator of a node.
    ///
    /// # Errors
    /// It is not known, or not in this form.
    pub fn of(node: &Node) -> Result<Self, GraphError> {
        let axis = |default| node.whole("axis").unwrap_or(default);
        let keep = node.whole("keepdims") != Some(0);
        Ok(match node.kind.as_str() {
            "Abs" => Self::Abs,
            "Add" => Self::Add,
            "And" => Self::And,
            "BatchNormalization" => {
                Self::BatchNormalization { epsilon: node.real("epsilon").unwrap_or(1e-5) }
            }
            "Cast" => Self::Cast { to: node.whole("to").unwrap_or(0) },
            "Clip" => Self::Clip,
            "Concat" => Self::Concat { axis: axis(0) },
            "Conv" => Self::Conv(convolution(node)?),
            "CumSum"
                if node.whole("exclusive").unwrap_or(0) == 0 && node.whole("reverse").unwrap_or(0) == 0 =>
            {
                Self::CumSum
            }
            "Div" => Self::Div,
            "Equal" => Self::Equal,
            "Expand" => Self::Expand,
            "Flatten" => Self::Flatten { axis: axis(1) },
            "Floor" => Self::Floor,
            "Gather" => Self::Gather { axis: axis(0) },
            "Gemm" => Self::Gemm(Gemm {
                alpha: node.real("alpha").unwrap_or(1.0),
                beta: node.real("beta").unwrap_or(1.0),
                turn_a: node.whole("transA").unwrap_or(0) != 0,
                turn_b: node.whole("transB").unwrap_or(0) != 0,
            }),
            "Greater" => Self::Greater,
            "Less" => Self::Less,
            "LessOrEqual" => Self::LessOrEqual,
            "Log" => Self::Log,
            "MatMul" => Self::MatMul,
            "Mul" => Self::Mul,
            "Or" => Self::Or,
            "Range" => Self::Range,
            "ReduceMax" => Self::ReduceMax { axes: node.wholes("axes").unwrap_or_default().to_vec(), keep },
            "ReduceSum" => Self::ReduceSum { keep },
            "Relu" => Self::Relu,
            "Shape" => Self::Shape,
            "Slice" => Self::Slice,
            "Softmax" => Self::Softmax { axis: axis(-1) },
            "Softplus" => Self::Softplus,
            "Sub" => Self::Sub,
            "Transpose" => Self::Transpose { order: node.wholes("perm").unwrap_or_default().to_vec() },
            "Unsqueeze" => Self::Unsqueeze,
            "Where" => Self::Where,
            other => return Err(GraphError::Unknown(other.to_owned())),
        })
    }

    /// The second operand as the operator works with it, where it is a constant: turned already from here on.
    pub fn turn(&mut self, constant: &Tensor) -> Outcome<Option<Tensor>> {
        match self {
            Self::Conv(convolution) => convolution.turn(constant).map(Some),
            Self::Gemm(gemm) if gemm.turn_b => gemm.turn(constant).map(Some),
            _ => Ok(None),
        }
    }

    /// Its result.
    pub fn compute(&self, operands: &[Option<&Tensor>]) -> Outcome {
        let given = |number: usize| operands.get(number).copied().flatten();
        let operand = |number: usize| given(number).ok_or("an operand is missing");
        let a = operand(0)?;
        let b = || operand(1);
        match self {
            Self::Abs => element::map(a, f32::abs),
            Self::Add => element::arithmetic(a, b()?, |a, b| a + b, i64::wrapping_add),
            Self::And => element::logic(a, b()?, |a, b| a && b),
            Self::BatchNormalization { epsilon } => {
                element::normalise(a, [b()?, operand(2)?, operand(3)?, operand(4)?], *epsilon)
            }
            Self::Cast { to } => element::cast(a, *to),
            Self::Clip => element::clip(a, given(1), given(2)),
            Self::Concat { axis } => {
                arrange::concat(&operands.iter().copied().flatten().collect::<Vec<_>>(), *axis)
            }
            Self::Conv(convolution) => convolution.compute(a, b()?, given(2)),
            Self::CumSum => reduce::running_sum(a, b()?),
            Self::Div => element::arithmetic(a, b()?, |a, b| a / b, |a, b| a.checked_div(b).unwrap_or(0)),
            Self::Equal => element::comparison(a, b()?, f32::eq, i64::eq),
            Self::Expand => element::expand(a, b()?),
            Self::Flatten { axis } => arrange::flatten(a, *axis),
            Self::Floor => element::map(a, f32::floor),
            Self::Gather { axis } => arrange::gather(a, b()?, *axis),
            Self::Gemm(gemm) => gemm.compute(a, b()?, given(2)),
            Self::Greater => element::comparison(a, b()?, f32::gt, i64::gt),
            Self::Less => element::comparison(a, b()?, f32::lt, i64::lt),
            Self::LessOrEqual => element::comparison(a, b()?, f32::le, i64::le),
            Self::Log => element::map(a, f32::ln),
            Self::MatMul => multiply::matmul(a, b()?),
            Self::Mul => element::arithmetic(a, b()?, |a, b| a * b, i64::wrapping_mul),
            Self::Or => element::logic(a, b()?, |a, b| a || b),
            Self::Range => arrange::range(a, b()?, operand(2)?),
            Self::ReduceMax { axes, keep } => reduce::reduce(a, axes, *keep, f32::NEG_INFINITY, f32::max),
            Self::ReduceSum { keep } => {
                let axes = given(1).map(Tensor::wholes).transpose()?.unwrap_or_default();
                reduce::reduce(a, axes, *keep, 0.0, |sum, value| sum + value)
            }
            Self::Relu => element::map(a, |value| value.max(0.0)),
            Self::Shape => Ok(arrange::shape(a)),
            Self::Slice => arrange::slice(a, [given(1), given(2), given(3), given(4)]),
            Self::Softmax { axis } => reduce::softmax(a, *axis),
            // For large values the exponential has no bound, and the function is the value itself.
            Self::Softplus => element::map(a, |value| value.max(0.0) + (-value.abs()).exp().ln_1p()),
            Self::Sub => element::arithmetic(a, b()?, |a, b| a - b, i64::wrapping_sub),
            Self::Transpose { order } => arrange::transpose(a, order),
            Self::Unsqueeze => arrange::unsqueeze(a, b()?),
            Self::Where => element::choose(a, b()?, operand(2)?),
        }
    }
}

fn convolution(node: &Node) -> Result<Convolution, GraphError> {
    let single = |name: &str| match node.wholes(name) {
        None => Some(1),
        Some([value]) => usize::try_from(*value).ok().filter(|value| *value > 0),
        Some(_) => None,
    };
    let pads = match node.wholes("pads") {
        None => Some((0, 0)),
        Some([before, behind]) => usize::try_from(*before).ok().zip(usize::try_from(*behind).ok()),
        Some(_) => None,
    };
    match (single("dilations"), single("strides"), pads, node.whole("group").unwrap_or(1)) {
        (Some(dilation), Some(stride), Some(pads), 1) => {
            Ok(Convolution { dilation, stride, pads, turned: false })
        }
        _ => Err(GraphError::Unknown("Conv of this form".to_owned())),
    }
}
