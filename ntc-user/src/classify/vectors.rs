//! `vectors.json`: flows that were made up, with the model's answers, by which a graph and a runtime are checked.

use serde::Deserialize;

use super::bundle::BundleError;
use crate::features::FLOW_VALUES;

/// No bundle asks for less than this: what probabilities may differ by where they mean the same. That much is for graphs
/// computed in 8 bits, where processors round a value to one or the other of its neighbours; others ask for 1e-5.
const LARGEST_TOLERANCE: f32 = 0.05;

/// Test vectors of a bundle.
#[derive(Clone, Debug, Deserialize)]
pub struct Vectors {
    /// Probabilities may be apart by so much.
    pub tolerance: f32,
    /// The model's input, a row a flow.
    pub packets: Vec<Vec<f32>>,
    /// The probabilities that PyTorch gave, a row a flow.
    pub probabilities: Vec<Vec<f32>>,
}

impl Vectors {
    /// Reads the text; every row must fit a model of so many labels.
    ///
    /// # Errors
    /// What does not fit.
    pub fn parse(origin: &str, text: &[u8], labels: usize) -> Result<Self, BundleError> {
        let wrong = |what: String| BundleError::Vectors { origin: origin.into(), what };
        let vectors: Self = serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
        if !(0.0..=LARGEST_TOLERANCE).contains(&vectors.tolerance) {
            return Err(wrong(format!(
                "tolerance: {} is not from 0 to {LARGEST_TOLERANCE}",
                vectors.tolerance
            )));
        }
        if vectors.packets.is_empty() || vectors.packets.len() != vectors.probabilities.len() {
            let (flows, answers) = (vectors.packets.len(), vectors.probabilities.len());
            return Err(wrong(format!("{flows} flows and {answers} answers")));
        }
        if vectors.packets.iter().any(|row| row.len() != FLOW_VALUES) {
            return Err(wrong(format!("a flow has not {FLOW_VALUES} values")));
        }
        if vectors.probabilities.iter().any(|row| row.len() != labels) {
            return Err(wrong(format!("an answer has not {labels} probabilities")));
        }
        Ok(vectors)
    }

    /// By how much the probabilities differ from those of the vectors, at most. A value that is no number is as far
    /// away as can be.
    pub fn difference(&self, probabilities: &[f32]) -> f32 {
        let wanted = self.probabilities.iter().flatten();
        let apart = wanted.zip(probabilities).map(|(a, b)| (a - b).abs());
        apart.fold(0.0, |most, apart| if apart.is_nan() { f32::INFINITY } else { most.max(apart) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_must_fit_the_model() {
        let row = vec!["0"; FLOW_VALUES].join(",");
        let text = |tolerance: &str, packets: &str, answers: &str| {
            format!("{{\"tolerance\": {tolerance}, \"packets\": {packets}, \"probabilities\": {answers}}}")
        };
        let parse = |text: String| Vectors::parse("v.json", text.as_bytes(), 2);
        let whole = parse(text("1e-5", &format!("[[{row}]]"), "[[0.25, 0.75]]")).expect("it fits");
        assert!((whole.difference(&[0.25, 0.5]) - 0.25).abs() < 1e-6);
        assert_eq!(whole.difference(&[0.25, f32::NAN]), f32::INFINITY);
        for (text, said) in [
            (text("1", &format!("[[{row}]]"), "[[0, 1]]"), "tolerance"),
            (text("1e-5", "[]", "[]"), "0 flows"),
            (text("1e-5", &format!("[[{row}]]"), "[[0, 1], [0, 1]]"), "2 answers"),
            (text("1e-5", "[[1, 2]]", "[[0, 1]]"), "has not 120 values"),
            (text("1e-5", &format!("[[{row}]]"), "[[1]]"), "has not 2 probabilities"),
            ("{".to_owned(), "EOF"),
        ] {
            let error = parse(text).expect_err(said).to_string();
            assert!(error.contains(said) && error.contains("v.json"), "{error}");
        }
    }
}
