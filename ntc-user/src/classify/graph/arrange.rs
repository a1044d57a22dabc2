//! Operators that put numbers into another order or shape.

use super::{
    reduce::around,
    tensor::{Outcome, Tensor, Values, axis, rows, strides},
};

/// The same for each kind of values.
macro_rules! of_each_kind {
    ($tensor:expr, $values:ident => $do:expr) => {
        match &$tensor.values {
            Values::Float($values) => Values::Float($do),
            Values::Whole($values) => Values::Whole($do),
            Values::Truth($values) => Values::Truth($do),
        }
    };
}

/// Takes the numbered ones along an axis.
pub fn gather(a: &Tensor, numbers: &Tensor, number: i64) -> Outcome {
    let along = axis(number, a.shape.len())?;
    let (before, length, behind) = around(&a.shape, along);
    let numbers_shape = &numbers.shape;
    let places = numbers.wholes()?.iter().map(|number| axis(*number, length)).collect::<Outcome<Vec<_>>>();
    let places = places.map_err(|_| "an index beyond the end")?;
    let shape = [&a.shape[..along], numbers_shape, &a.shape[along + 1..]].concat();
    let values = of_each_kind!(a, values => {
        let mut out = Vec::with_capacity(before * places.len() * behind);
        for outer in 0..before {
            for place in &places {
                let from = (outer * length + place) * behind;
                out.extend_from_slice(&values[from..from + behind]);
            }
        }
        out
    });
    Ok(Tensor { shape, values })
}

/// Takes a part along axes.
pub fn slice(a: &Tensor, [starts, ends, axes, steps]: [Option<&Tensor>; 4]) -> Outcome {
    let list =
        |tensor: Option<&Tensor>| tensor.map(|tensor| tensor.wholes().map(<[i64]>::to_vec)).transpose();
    let starts = list(starts)?.ok_or("no starts")?;
    let ends = list(ends)?.ok_or("no ends")?;
    let axes = list(axes)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = list(steps)?.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return Err("lists of different lengths");
    }
    let mut out = a.clone();
    for (((start, end), number), step) in starts.into_iter().zip(ends).zip(axes).zip(steps) {
        let along = axis(number, out.shape.len())?;
        let length = out.shape[along] as i64;
        let bound = |at: i64| if at < 0 { (at + length).max(0) } else { at.min(length) };
        let step = usize::try_from(step).ok().filter(|step| *step > 0).ok_or("a step backwards")?;
        let numbers: Vec<i64> = (bound(start)..bound(end)).step_by(step).collect();
        out = gather(&out, &Tensor::whole(vec![numbers.len()], numbers), along as i64)?;
    }
    Ok(out)
}

/// One behind the other along an axis.
pub fn concat(parts: &[&Tensor], number: i64) -> Outcome {
    let first = parts.first().ok_or("nothing to join")?;
    let along = axis(number, first.shape.len())?;
    let alike = |part: &&Tensor| {
        let others = |shape: &[usize]| [&shape[..along], &shape[along + 1..]].concat();
        part.shape.len() == first.shape.len() && others(&part.shape) == others(&first.shape)
    };
    if !parts.iter().all(alike) {
        return Err("shapes do not go together");
    }
    let (before, ..) = around(&first.shape, along);
    let mut shape = first.shape.clone();
    shape[along] = parts.iter().map(|part| part.shape[along]).sum();
    if let Values::Whole(_) = first.values {
        // Shapes, which have one axis.
        let lists = parts.iter().map(|part| part.wholes()).collect::<Outcome<Vec<_>>>()?;
        return if before == 1 {
            Ok(Tensor::whole(shape, lists.concat()))
        } else {
            Err("whole numbers of one axis")
        };
    }
    let lists = parts.iter().map(|part| part.floats()).collect::<Outcome<Vec<_>>>()?;
    let mut out = Vec::with_capacity(shape.iter().product());
    for outer in 0..before {
        for list in &lists {
            let length = list.len() / before.max(1);
            out.extend_from_slice(&list[outer * length..(outer + 1) * length]);
        }
    }
    Ok(Tensor::float(shape, out))
}

/// Axes of length 1 at these places.
pub fn unsqueeze(a: &Tensor, axes: &Tensor) -> Outcome {
    let rank = a.shape.len() + axes.len();
    let new = axes.wholes()?.iter().map(|number| axis(*number, rank)).collect::<Outcome<Vec<_>>>()?;
    let mut old = a.shape.iter().copied();
    let shape = (0..rank).map(|axis| if new.contains(&axis) { Some(1) } else { old.next() });
    Ok(a.reshaped(shape.collect::<Option<_>>().ok_or("one axis twice")?))
}

/// Two axes: what lies before this one, and the rest.
pub fn flatten(a: &Tensor, number: i64) -> Outcome {
    let rank = a.shape.len();
    let at = if number == rank as i64 { rank } else { axis(number, rank)? };
    Ok(a.reshaped(vec![a.shape[..at].iter().product(), a.shape[at..].iter().product()]))
}

/// Axes in another order; the other way round if none is given.
pub fn transpose(a: &Tensor, order: &[i64]) -> Outcome {
    let rank = a.shape.len();
    let order: Vec<usize> = if order.is_empty() {
        (0..rank).rev().collect()
    } else {
        order.iter().map(|number| axis(*number, rank)).collect::<Outcome<_>>()?
    };
    if order.len() != rank || (0..rank).any(|axis| !order.contains(&axis)) {
        return Err("not an order of its axes");
    }
    let own = strides(&a.shape);
    let (shape, steps): (Vec<_>, Vec<_>) = order.iter().map(|axis| (a.shape[*axis], own[*axis])).unzip();
    let (length, step) = (shape.last().copied().unwrap_or(1), steps.last().copied().unwrap_or(1));
    let values = a.floats()?;
    let mut out = Vec::with_capacity(values.len());
    rows(&shape, &steps, |place| out.extend((0..length).map(|number| values[place + number * step])));
    Ok(Tensor::float(shape, out))
}

/// The shape as a list.
pub fn shape(a: &Tensor) -> Tensor {
    Tensor::whole(vec![a.shape.len()], a.shape.iter().map(|length| *length as i64).collect())
}

/// Numbers from one to another.
pub fn range(start: &Tensor, end: &Tensor, step: &Tensor) -> Outcome {
    /// More are of no use, and would be somebody's mistake.
    const MOST: usize = 1 << 20;
    let single = |tensor: &Tensor| tensor.floats()?.first().copied().ok_or("a bound without a value");
    let (start, end, step) = (single(start)?, single(end)?, single(step)?);
    let count = ((end - start) / step).ceil().max(0.0) as usize;
    if count > MOST {
        return Err("too many numbers");
    }
    Ok(Tensor::float(vec![count], (0..count).map(|number| start + step * number as f32).collect()))
}
