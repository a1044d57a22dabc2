//! Products of matrices, which take most of the time.

use std::borrow::Cow;

use super::tensor::{Outcome, Tensor};

/// Rows and columns of a block whose sums are held in registers: eight of AVX.
const ROWS: usize = 4;
const COLUMNS: usize = 16;

/// `out += a * b` for matrices of m x k and k x n, row by row.
pub fn multiply(a: &[f32], b: &[f32], out: &mut [f32], (m, k, n): (usize, usize, usize)) {
    assert!(a.len() == m * k && b.len() == k * n && out.len() == m * n, "matrices of other sizes");
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the processor has what the function is compiled for.
        unsafe { multiply_avx(a, b, out, (m, k, n)) };
        return;
    }
    // aarch64 always fuses; elsewhere a fused product without an instruction for it would be slow.
    blocks::<{ cfg!(target_arch = "aarch64") }>(a, b, out, (m, k, n));
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn multiply_avx(a: &[f32], b: &[f32], out: &mut [f32], sizes: (usize, usize, usize)) {
    blocks::<true>(a, b, out, sizes);
}

#[inline(always)]
fn blocks<const FUSED: bool>(a: &[f32], b: &[f32], out: &mut [f32], (m, k, n): (usize, usize, usize)) {
    for row in (0..m).step_by(ROWS) {
        let rows = ROWS.min(m - row);
        for column in (0..n).step_by(COLUMNS) {
            let columns = COLUMNS.min(n - column);
            if rows == ROWS && columns == COLUMNS {
                let mut sums = [[0.0_f32; COLUMNS]; ROWS];
                for step in 0..k {
                    let line = &b[step * n + column..step * n + column + COLUMNS];
                    for (number, sums) in sums.iter_mut().enumerate() {
                        let factor = a[(row + number) * k + step];
                        for (sum, value) in sums.iter_mut().zip(line) {
                            *sum = fused::<FUSED>(factor, *value, *sum);
                        }
                    }
                }
                for (number, sums) in sums.iter().enumerate() {
                    let at = (row + number) * n + column;
                    out[at..at + COLUMNS].iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
                }
            } else {
                for row in row..row + rows {
                    let at = row * n + column;
                    let out = &mut out[at..at + columns];
                    for step in 0..k {
                        let factor = a[row * k + step];
                        let line = &b[step * n + column..step * n + column + columns];
                        for (out, value) in out.iter_mut().zip(line) {
                            *out = fused::<FUSED>(factor, *value, *out);
                        }
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn fused<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Rows as columns.
pub fn turned(a: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(a.len());
    for column in 0..columns {
        out.extend((0..rows).map(|row| a[row * columns + column]));
    }
    out
}

/// A matrix, its rows and columns, perhaps turned.
fn matrix(tensor: &Tensor, turn: bool) -> Outcome<(Cow<'_, [f32]>, usize, usize)> {
    let [rows, columns] = tensor.shape[..] else { return Err("a matrix is asked for") };
    let values = tensor.floats()?;
    Ok(if turn {
        (turned(values, rows, columns).into(), columns, rows)
    } else {
        (values.into(), rows, columns)
    })
}

/// `alpha * a * b + beta * c`, each perhaps turned.
#[derive(Debug)]
pub struct Gemm {
    /// Factor of the product.
    pub alpha: f32,
    /// Factor of what is added.
    pub beta: f32,
    /// a is given as columns.
    pub turn_a: bool,
    /// b is given as columns.
    pub turn_b: bool,
}

impl Gemm {
    /// Turns b once for all.
    pub fn turn(&mut self, b: &Tensor) -> Outcome {
        let (values, rows, columns) = matrix(b, self.turn_b)?;
        self.turn_b = false;
        Ok(Tensor::float(vec![rows, columns], values.into_owned()))
    }

    /// Computes it.
    pub fn compute(&self, a: &Tensor, b: &Tensor, c: Option<&Tensor>) -> Outcome {
        let ((a, m, k), (b, depth, n)) = (matrix(a, self.turn_a)?, matrix(b, self.turn_b)?);
        if k != depth {
            return Err("matrices do not go together");
        }
        let mut out = vec![0.0; m * n];
        multiply(&a, &b, &mut out, (m, k, n));
        let product = super::element::map(&Tensor::float(vec![m, n], out), |value| value * self.alpha)?;
        let Some(c) = c else { return Ok(product) };
        let beta = self.beta;
        super::element::arithmetic(&product, c, |sum, value| beta.mul_add(value, sum), |_, _| 0)
    }
}

/// Matrices of the last two axes; the second operand's are one for all, or one for each of the first's.
pub fn matmul(a: &Tensor, b: &Tensor) -> Outcome {
    let ([outer @ .., m, k], [others @ .., depth, n]) = (&a.shape[..], &b.shape[..]) else {
        return Err("matrices are asked for");
    };
    let (m, k, n) = (*m, *k, *n);
    let shape = [outer, &[m, n]].concat();
    let count: usize = outer.iter().product();
    let (x, y) = (a.floats()?, b.floats()?);
    let mut out = vec![0.0; count * m * n];
    if *depth != k || !(others.is_empty() || others == outer) {
        return Err("matrices do not go together");
    }
    if others.is_empty() {
        multiply(x, y, &mut out, (count * m, k, n));
    } else {
        for number in 0..count {
            multiply(
                &x[number * m * k..][..m * k],
                &y[number * k * n..][..k * n],
                &mut out[number * m * n..][..m * n],
                (m, k, n),
            );
        }
    }
    Ok(Tensor::float(shape, out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_their_rests_give_what_the_definition_gives() {
        for (m, k, n) in [(1, 1, 1), (4, 3, 16), (5, 7, 17), (9, 20, 48), (3, 2, 40), (0, 3, 2)] {
            let values = |count: usize, seed: usize| -> Vec<f32> {
                (0..count).map(|number| ((number * 7 + seed) % 13) as f32 - 6.0).collect()
            };
            let (a, b) = (values(m * k, 1), values(k * n, 5));
            let mut out = vec![0.0; m * n];
            multiply(&a, &b, &mut out, (m, k, n));
            for row in 0..m {
                for column in 0..n {
                    let sum: f32 = (0..k).map(|step| a[row * k + step] * b[step * n + column]).sum();
                    assert_eq!(out[row * n + column], sum, "{m} {k} {n}: {row} {column}");
                }
            }
        }
    }
}
