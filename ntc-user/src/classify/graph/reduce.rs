//! Operators that go along an axis.

use super::tensor::{Outcome, Tensor, axis, rows, strides};

/// Sums or the like over axes (all, if none is named).
pub fn reduce(a: &Tensor, axes: &[i64], keep: bool, start: f32, each: impl Fn(f32, f32) -> f32) -> Outcome {
    let rank = a.shape.len();
    let gone: Vec<bool> = if axes.is_empty() {
        vec![true; rank]
    } else {
        let axes = axes.iter().map(|number| axis(*number, rank)).collect::<Outcome<Vec<_>>>()?;
        (0..rank).map(|axis| axes.contains(&axis)).collect()
    };
    let kept: Vec<_> = (0..rank).map(|axis| if gone[axis] { 1 } else { a.shape[axis] }).collect();
    let mut steps = strides(&kept);
    steps.iter_mut().zip(&gone).for_each(|(step, gone)| {
        if *gone {
            *step = 0;
        }
    });
    let values = a.floats()?;
    let mut out = vec![start; kept.iter().product()];
    let length = a.shape.last().copied().unwrap_or(1);
    let within = gone.last() == Some(&true);
    let mut rest = values;
    rows(&a.shape, &steps, |place| {
        let (row, behind) = rest.split_at(length);
        rest = behind;
        if within {
            out[place] = row.iter().fold(out[place], |all, value| each(all, *value));
        } else {
            out[place..place + length].iter_mut().zip(row).for_each(|(out, value)| *out = each(*out, *value));
        }
    });
    let shape =
        if keep { kept } else { (0..rank).filter(|axis| !gone[*axis]).map(|axis| kept[axis]).collect() };
    Ok(Tensor::float(shape, out))
}

/// Length of what lies before an axis, of the axis, and of what lies behind it.
pub fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product())
}

/// Sums up along an axis.
pub fn running_sum(a: &Tensor, number: &Tensor) -> Outcome {
    let number = number.wholes()?.first().copied().ok_or("no axis")?;
    let (before, length, behind) = around(&a.shape, axis(number, a.shape.len())?);
    let mut values = a.floats()?.to_vec();
    for outer in 0..before {
        for place in (outer * length * behind + behind)..((outer + 1) * length * behind) {
            values[place] += values[place - behind];
        }
    }
    Ok(Tensor::float(a.shape.clone(), values))
}

/// Probabilities along an axis.
pub fn softmax(a: &Tensor, number: i64) -> Outcome {
    let (before, length, behind) = around(&a.shape, axis(number, a.shape.len())?);
    let mut values = a.floats()?.to_vec();
    for outer in 0..before {
        for inner in 0..behind {
            let place = |step: usize| (outer * length + step) * behind + inner;
            let largest = (0..length).fold(f32::NEG_INFINITY, |all, step| all.max(values[place(step)]));
            let mut sum = 0.0;
            for step in 0..length {
                let value = &mut values[place(step)];
                *value = (*value - largest).exp();
                sum += *value;
            }
            (0..length).for_each(|step| values[place(step)] /= sum);
        }
    }
    Ok(Tensor::float(a.shape.clone(), values))
}
