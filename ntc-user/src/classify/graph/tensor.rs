//! Numbers with a shape.

/// What does not fit.
pub type Refusal = &'static str;

/// An operator's outcome.
pub type Outcome<T = Tensor> = Result<T, Refusal>;

/// The numbers, the last axis next to each other.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// 32-bit real numbers.
    Float(Vec<f32>),
    /// Whole numbers: indices and shapes.
    Whole(Vec<i64>),
    /// Outcomes of comparisons.
    Truth(Vec<bool>),
}

/// Numbers with a shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Length of each axis.
    pub shape: Vec<usize>,
    /// As many as the shape says.
    pub values: Values,
}

impl Tensor {
    /// Of real numbers.
    pub const fn float(shape: Vec<usize>, values: Vec<f32>) -> Self {
        Self { shape, values: Values::Float(values) }
    }

    /// Of whole numbers.
    pub const fn whole(shape: Vec<usize>, values: Vec<i64>) -> Self {
        Self { shape, values: Values::Whole(values) }
    }

    /// Of outcomes.
    pub const fn truth(shape: Vec<usize>, values: Vec<bool>) -> Self {
        Self { shape, values: Values::Truth(values) }
    }

    /// Whether there are as many values as the shape says.
    pub fn fits(&self) -> bool {
        let wanted = self.shape.iter().try_fold(1_usize, |all, length| all.checked_mul(*length));
        wanted == Some(self.len())
    }

    /// How many values.
    pub const fn len(&self) -> usize {
        match &self.values {
            Values::Float(values) => values.len(),
            Values::Whole(values) => values.len(),
            Values::Truth(values) => values.len(),
        }
    }

    /// The values as real numbers.
    ///
    /// # Errors
    /// They are others.
    pub fn floats(&self) -> Outcome<&[f32]> {
        if let Values::Float(values) = &self.values { Ok(values) } else { Err("real numbers are asked for") }
    }

    /// The values as whole numbers.
    ///
    /// # Errors
    /// They are others.
    pub fn wholes(&self) -> Outcome<&[i64]> {
        if let Values::Whole(values) = &self.values { Ok(values) } else { Err("whole numbers are asked for") }
    }

    /// The values as outcomes.
    ///
    /// # Errors
    /// They are others.
    pub fn truths(&self) -> Outcome<&[bool]> {
        if let Values::Truth(values) = &self.values { Ok(values) } else { Err("outcomes are asked for") }
    }

    /// The same values in another shape.
    pub fn reshaped(&self, shape: Vec<usize>) -> Self {
        Self { shape, values: self.values.clone() }
    }
}

/// Number of an axis, which may be counted from the end.
pub fn axis(number: i64, rank: usize) -> Outcome<usize> {
    let counted = if number < 0 { number + rank as i64 } else { number };
    usize::try_from(counted).ok().filter(|axis| *axis < rank).ok_or("no such axis")
}

/// Distance of neighbours on each axis.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// Calls `each` with the place of each row (all but the last axis) in something that has these strides, in order.
pub fn rows(shape: &[usize], strides: &[usize], mut each: impl FnMut(usize)) {
    let Some(outer) = shape.len().checked_sub(1) else { return each(0) };
    if shape.contains(&0) {
        return;
    }
    let (mut index, mut place) = (vec![0; outer], 0);
    loop {
        each(place);
        let mut axis = outer;
        loop {
            let Some(next) = axis.checked_sub(1) else { return };
            axis = next;
            index[axis] += 1;
            place += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            place -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
}
