//! Operators that go number by number.

use std::borrow::Cow;

use super::tensor::{Outcome, Tensor, Values, rows, strides};

/// The shape that both have when axes of length 1 are repeated.
fn common(a: &[usize], b: &[usize]) -> Outcome<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at =
        |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis]);
    (0..rank)
        .map(|axis| match (at(a, axis), at(b, axis)) {
            (a, b) if a == b || b == 1 => Ok(a),
            (1, b) => Ok(b),
            _ => Err("shapes do not go together"),
        })
        .collect()
}

/// The values repeated to a shape.
fn repeated<'a, T: Copy>(values: &'a [T], from: &[usize], to: &[usize]) -> Cow<'a, [T]> {
    if from == to {
        return Cow::Borrowed(values);
    }
    let missing = to.len() - from.len();
    let own = strides(from);
    let steps: Vec<_> = (0..to.len())
        .map(|axis| match axis.checked_sub(missing) {
            Some(axis) if from[axis] > 1 => own[axis],
            _ => 0,
        })
        .collect();
    let length = to.last().copied().unwrap_or(1);
    let mut out = Vec::with_capacity(to.iter().product());
    let repeats = steps.last() == Some(&0);
    rows(to, &steps, |place| {
        if repeats {
            out.extend(std::iter::repeat_n(values[place], length));
        } else {
            out.extend_from_slice(&values[place..place + length]);
        }
    });
    Cow::Owned(out)
}

fn zipped<T: Copy, R>(
    (a, a_shape): (&[T], &[usize]),
    (b, b_shape): (&[T], &[usize]),
    each: impl Fn(T, T) -> R,
) -> Outcome<(Vec<usize>, Vec<R>)> {
    let shape = common(a_shape, b_shape)?;
    let values = match (a, b) {
        // The usual second operand needs no copies.
        (a, [single]) if a_shape == shape => a.iter().map(|a| each(*a, *single)).collect(),
        _ => {
            let (a, b) = (repeated(a, a_shape, &shape), repeated(b, b_shape, &shape));
            a.iter().zip(b.iter()).map(|(a, b)| each(*a, *b)).collect()
        }
    };
    Ok((shape, values))
}

/// Adds, multiplies and the like.
pub fn arithmetic(
    a: &Tensor,
    b: &Tensor,
    real: impl Fn(f32, f32) -> f32,
    whole: impl Fn(i64, i64) -> i64,
) -> Outcome {
    match (&a.values, &b.values) {
        (Values::Float(x), Values::Float(y)) => {
            zipped((x, &a.shape), (y, &b.shape), real).map(|(shape, values)| Tensor::float(shape, values))
        }
        (Values::Whole(x), Values::Whole(y)) => {
            zipped((x, &a.shape), (y, &b.shape), whole).map(|(shape, values)| Tensor::whole(shape, values))
        }
        _ => Err("numbers of one kind are asked for"),
    }
}

/// Compares.
pub fn comparison(
    a: &Tensor,
    b: &Tensor,
    real: impl Fn(&f32, &f32) -> bool,
    whole: impl Fn(&i64, &i64) -> bool,
) -> Outcome {
    let found = match (&a.values, &b.values) {
        (Values::Float(x), Values::Float(y)) => zipped((x, &a.shape), (y, &b.shape), |a, b| real(&a, &b)),
        (Values::Whole(x), Values::Whole(y)) => zipped((x, &a.shape), (y, &b.shape), |a, b| whole(&a, &b)),
        _ => Err("numbers of one kind are asked for"),
    };
    found.map(|(shape, values)| Tensor::truth(shape, values))
}

/// And, or.
pub fn logic(a: &Tensor, b: &Tensor, each: impl Fn(bool, bool) -> bool) -> Outcome {
    let (shape, values) = zipped((a.truths()?, &a.shape), (b.truths()?, &b.shape), each)?;
    Ok(Tensor::truth(shape, values))
}

/// A function of one number.
pub fn map(a: &Tensor, each: impl Fn(f32) -> f32) -> Outcome {
    Ok(Tensor::float(a.shape.clone(), a.floats()?.iter().map(|value| each(*value)).collect()))
}

/// Keeps numbers within bounds.
pub fn clip(a: &Tensor, low: Option<&Tensor>, high: Option<&Tensor>) -> Outcome {
    let bound = |tensor: Option<&Tensor>, none: f32| match tensor {
        None => Ok(none),
        Some(tensor) => tensor.floats()?.first().copied().ok_or("a bound without a value"),
    };
    let (low, high) = (bound(low, f32::NEG_INFINITY)?, bound(high, f32::INFINITY)?);
    map(a, |value| value.max(low).min(high))
}

/// Takes from one or the other.
pub fn choose(which: &Tensor, yes: &Tensor, no: &Tensor) -> Outcome {
    let shape = common(&common(&which.shape, &yes.shape)?, &no.shape)?;
    let which = repeated(which.truths()?, &which.shape, &shape);
    let picked = |yes: &[f32], no: &[f32]| {
        which
            .iter()
            .zip(yes.iter().zip(no))
            .map(|(which, (yes, no))| if *which { *yes } else { *no })
            .collect()
    };
    let (yes, no) = (repeated(yes.floats()?, &yes.shape, &shape), repeated(no.floats()?, &no.shape, &shape));
    let values = picked(&yes, &no);
    Ok(Tensor::float(shape, values))
}

/// ONNX's numbers for kinds of values.
pub fn cast(a: &Tensor, to: i64) -> Outcome {
    let values = match (to, &a.values) {
        (1, Values::Float(_)) | (6 | 7, Values::Whole(_)) | (9, Values::Truth(_)) => a.values.clone(),
        (1, Values::Whole(values)) => Values::Float(values.iter().map(|value| *value as f32).collect()),
        (1, Values::Truth(values)) => {
            Values::Float(values.iter().map(|value| f32::from(u8::from(*value))).collect())
        }
        (6 | 7, Values::Float(values)) => Values::Whole(values.iter().map(|value| *value as i64).collect()),
        (6 | 7, Values::Truth(values)) => {
            Values::Whole(values.iter().map(|value| i64::from(*value)).collect())
        }
        _ => return Err("no way from the one kind to the other"),
    };
    Ok(Tensor { shape: a.shape.clone(), values })
}

/// Repeats to a shape.
pub fn expand(a: &Tensor, to: &Tensor) -> Outcome {
    let to: Option<Vec<usize>> = to.wholes()?.iter().map(|length| usize::try_from(*length).ok()).collect();
    let shape = common(&a.shape, &to.ok_or("a negative length")?)?;
    let values = repeated(a.floats()?, &a.shape, &shape).into_owned();
    Ok(Tensor::float(shape, values))
}

/// Batch normalisation as it is after training: a line for each channel (axis 1).
pub fn normalise(a: &Tensor, [scale, bias, mean, variance]: [&Tensor; 4], epsilon: f32) -> Outcome {
    let (scale, bias, mean, variance) = (scale.floats()?, bias.floats()?, mean.floats()?, variance.floats()?);
    let channels = *a.shape.get(1).ok_or("no channels")?;
    if [scale, bias, mean, variance].iter().any(|values| values.len() != channels) {
        return Err("as many numbers as channels are asked for");
    }
    let length: usize = a.shape[2..].iter().product();
    let mut values = a.floats()?.to_vec();
    if length > 0 {
        for (row, values) in values.chunks_exact_mut(length).enumerate() {
            let channel = row % channels;
            let slope = scale[channel] / (variance[channel] + epsilon).sqrt();
            values.iter_mut().for_each(|value| *value = (*value - mean[channel]) * slope + bias[channel]);
        }
    }
    Ok(Tensor::float(a.shape.clone(), values))
}
