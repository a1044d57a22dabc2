//! Rounds, and what is told of them.

use anyhow::Result;
use serde::Serialize;

/// Median and spread of what the rounds gave.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Half of the rounds gave less.
    pub median: f64,
    /// The least.
    pub lowest: f64,
    /// The most.
    pub highest: f64,
}

impl Spread {
    /// Of at least one round; of none all is 0.
    pub fn of(mut rounds: Vec<f64>) -> Self {
        rounds.sort_by(f64::total_cmp);
        let at = |index: usize| rounds.get(index).copied().unwrap_or_default();
        let middle = rounds.len() / 2;
        let median = if rounds.len().is_multiple_of(2) && middle > 0 {
            f64::midpoint(at(middle - 1), at(middle))
        } else {
            at(middle)
        };
        Self { median, lowest: at(0), highest: at(rounds.len().saturating_sub(1)) }
    }
}

/// Measures each of the rows once a round, one after the other: what changes on the machine meanwhile meets all of
/// them. `measure` gets the row's number.
///
/// # Errors
/// Those of `measure`.
pub fn interleaved(
    rounds: usize,
    rows: usize,
    mut measure: impl FnMut(usize) -> Result<f64>,
) -> Result<Vec<Spread>> {
    let mut all = vec![Vec::with_capacity(rounds); rows];
    for _ in 0..rounds {
        for (row, results) in all.iter_mut().enumerate() {
            results.push(measure(row)?);
        }
    }
    Ok(all.into_iter().map(Spread::of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_the_rounds() {
        let spread = |rounds: &[f64]| Spread::of(rounds.to_vec());
        assert_eq!(spread(&[3.0, 1.0, 2.0]), Spread { median: 2.0, lowest: 1.0, highest: 3.0 });
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(spread(&[7.0]), Spread { median: 7.0, lowest: 7.0, highest: 7.0 });
    }

    #[test]
    fn rows_take_turns() {
        let mut order = Vec::new();
        interleaved(2, 3, |row| {
            order.push(row);
            Ok(0.0)
        })
        .unwrap();
        assert_eq!(order, [0, 1, 2, 0, 1, 2]);
    }
}
