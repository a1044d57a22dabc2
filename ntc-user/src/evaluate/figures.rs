//! Figures of answers, at one level.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

/// Macro F1 is over labels with this many flows.
const MACRO_MIN_FLOWS: usize = 5;
/// Of equal mass.
const CALIBRATION_BINS: usize = 15;
/// The share of the surest answers in `coverage_90_accuracy`.
const COVERAGE: f64 = 0.9;

/// A flow with its answer.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// What it is.
    pub truth: &'a str,
    /// What the model says, however unsure.
    pub said: &'a str,
    /// Probability of that, 0 to 1.
    pub confidence: f32,
    /// The model could have said what it is.
    pub known: bool,
    /// Known, and the port table is wrong or silent.
    pub off_port: bool,
    /// Where its capture is from.
    pub source: &'a str,
}

impl Judged<'_> {
    /// Whether the answer is right.
    pub fn right(&self) -> bool {
        self.truth == self.said
    }
}

/// All figures of one level. `None`: there is no flow to count.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// Labelled flows that were found.
    pub flows: usize,
    /// Of these, flows whose label the model knows.
    pub known_flows: usize,
    /// Different labels.
    pub labels: usize,
    /// Share of right answers; flows whose label the model does not know count as wrong.
    pub accuracy: f64,
    /// Share of right answers among known flows.
    pub known_accuracy: Option<f64>,
    /// F1, weighted by the label's flows.
    pub weighted_f1: f64,
    /// F1, mean over labels with five flows or more.
    pub macro_f1: f64,
    /// Precision, weighted likewise.
    pub weighted_precision: f64,
    /// Recall, weighted likewise.
    pub weighted_recall: f64,
    /// Known flows of which the port table is wrong or silent.
    pub off_port_flows: usize,
    /// Share of right answers among them.
    pub off_port_accuracy: Option<f64>,
    /// Expected calibration error, over 15 bins of equal mass.
    pub ece: f64,
    /// Share of right answers among the surest nine tenths.
    pub coverage_90_accuracy: Option<f64>,
    /// Chance that a known flow gets more confidence than one whose label the model does not know.
    pub unknown_auroc: Option<f64>,
}

impl Figures {
    /// Of flows in a fixed order; `None` where there are none.
    pub fn of(flows: &[Judged<'_>]) -> Option<Self> {
        if flows.is_empty() {
            return None;
        }
        let by_label = by_label(flows);
        let total = flows.len() as f64;
        let weighted = |value: fn(&Tally) -> f64| {
            by_label.values().map(|tally| tally.flows as f64 / total * value(tally)).sum::<f64>()
        };
        let frequent = by_label.values().filter(|tally| tally.flows >= MACRO_MIN_FLOWS).map(Tally::f1);
        let known = flows.iter().filter(|flow| flow.known);
        let off_port = flows.iter().filter(|flow| flow.off_port);
        let mut surest: Vec<&Judged<'_>> = flows.iter().collect();
        surest.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
        surest.truncate((COVERAGE * total) as usize);
        Some(Self {
            flows: flows.len(),
            known_flows: known.clone().count(),
            labels: by_label.values().filter(|tally| tally.flows > 0).count(),
            accuracy: flows.iter().filter(|flow| flow.right()).count() as f64 / total,
            known_accuracy: share_right(known),
            weighted_f1: weighted(Tally::f1),
            macro_f1: mean(frequent).unwrap_or(0.0),
            weighted_precision: weighted(Tally::precision),
            weighted_recall: weighted(Tally::recall),
            off_port_flows: off_port.clone().count(),
            off_port_accuracy: share_right(off_port),
            ece: calibration_error(flows),
            coverage_90_accuracy: share_right(surest.into_iter()),
            unknown_auroc: area_under_roc(flows),
        })
    }
}

/// Of one label.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Flows that have it.
    pub(super) flows: usize,
    /// Answers that say so.
    pub(super) said: usize,
    /// Both.
    pub(super) hits: usize,
}

impl Tally {
    pub(super) fn precision(&self) -> f64 {
        if self.said == 0 { 0.0 } else { self.hits as f64 / self.said as f64 }
    }

    /// 0 for a label that no flow has: it has no weight either.
    pub(super) fn recall(&self) -> f64 {
        if self.flows == 0 { 0.0 } else { self.hits as f64 / self.flows as f64 }
    }

    pub(super) fn f1(&self) -> f64 {
        if self.flows == 0 { 0.0 } else { 2.0 * self.hits as f64 / (self.said + self.flows) as f64 }
    }
}

/// Also labels that are only in answers.
pub(super) fn by_label<'a>(flows: &[Judged<'a>]) -> BTreeMap<&'a str, Tally> {
    let mut tallies: BTreeMap<&str, Tally> = BTreeMap::new();
    for flow in flows {
        tallies.entry(flow.said).or_default().said += 1;
        let of_truth = tallies.entry(flow.truth).or_default();
        of_truth.flows += 1;
        of_truth.hits += usize::from(flow.right());
    }
    tallies
}

pub(super) fn share_right<'a>(flows: impl Iterator<Item = &'a Judged<'a>>) -> Option<f64> {
    mean(flows.map(|flow| f64::from(u8::from(flow.right()))))
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0u64, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / count as f64)
}

fn calibration_error(flows: &[Judged<'_>]) -> f64 {
    let mut order: Vec<&Judged<'_>> = flows.iter().collect();
    order.sort_by(|a, b| a.confidence.total_cmp(&b.confidence));
    let (size, larger) = (order.len() / CALIBRATION_BINS, order.len() % CALIBRATION_BINS);
    let mut rest = order.as_slice();
    let mut apart = 0.0;
    for bin in 0..CALIBRATION_BINS {
        let (part, after) = rest.split_at(size + usize::from(bin < larger));
        let right = part.iter().filter(|flow| flow.right()).count() as f64;
        let confidence: f64 = part.iter().map(|flow| f64::from(flow.confidence)).sum();
        apart += (right - confidence).abs();
        rest = after;
    }
    apart / flows.len() as f64
}

/// `None` without known flows, or without others.
fn area_under_roc(flows: &[Judged<'_>]) -> Option<f64> {
    let mut counts: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for flow in flows {
        // Confidences are not negative, so their bits are in their order.
        let (known, others) = counts.entry(flow.confidence.to_bits()).or_default();
        *(if flow.known { known } else { others }) += 1;
    }
    let (mut below, mut wins, mut total) = (0u64, 0.0, 0u64);
    for (known, others) in counts.into_values() {
        wins += known as f64 * (below as f64 + others as f64 / 2.0);
        below += others;
        total += known;
    }
    (below > 0 && total > 0).then(|| wins / (total as f64 * below as f64))
}

/// The most frequent wrong answers: (truth, said, flows), at most `count` of them.
pub fn confusions<'a>(flows: &[Judged<'a>], count: usize) -> Vec<(&'a str, &'a str, usize)> {
    let mut found: HashMap<(&str, &str), usize> = HashMap::new();
    for flow in flows.iter().filter(|flow| !flow.right()) {
        *found.entry((flow.truth, flow.said)).or_default() += 1;
    }
    let mut found: Vec<_> = found.into_iter().map(|((truth, said), flows)| (truth, said, flows)).collect();
    found.sort_by(|a, b| b.2.cmp(&a.2).then((a.0, a.1).cmp(&(b.0, b.1))));
    found.truncate(count);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        classify::Vocabulary,
        evaluate::{Level, ports::PortTable},
    };

    /// What the training package, too, is held to.
    const GOLDEN: &str = include_str!("../../../models/tests/golden-evaluation.json");

    fn judged<'a>(truth: &'a str, said: &'a str, confidence: f32) -> Judged<'a> {
        Judged { truth, said, confidence, known: true, off_port: false, source: "" }
    }

    #[test]
    fn figures_by_hand() {
        let mut flows = vec![judged("a", "a", 0.8); 5];
        flows.extend([judged("a", "b", 0.8), judged("b", "b", 0.8), judged("b", "b", 0.8)]);
        flows.extend([judged("b", "a", 0.8), Judged { known: false, ..judged("c", "a", 0.2) }]);
        let found = Figures::of(&flows).expect("flows");
        let (f1_a, f1_b) = (10.0 / 13.0, 4.0 / 6.0);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} {b}");
        assert_eq!((found.flows, found.known_flows, found.labels, found.off_port_flows), (10, 9, 3, 0));
        close(found.accuracy, 0.7);
        close(found.weighted_recall, 0.7);
        close(found.weighted_f1, 0.6 * f1_a + 0.3 * f1_b);
        close(found.macro_f1, f1_a);
        close(found.weighted_precision, 0.6 * 5.0 / 7.0 + 0.3 * 2.0 / 3.0);
        close(found.known_accuracy.expect("known"), 7.0 / 9.0);
        close(found.coverage_90_accuracy.expect("surest"), 7.0 / 9.0);
        close(found.unknown_auroc.expect("both kinds"), 1.0);
        assert_eq!(found.off_port_accuracy, None);
        assert_eq!(Figures::of(&[]), None);
        assert_eq!(confusions(&flows, 2), [("a", "b", 1), ("b", "a", 1)]);
    }

    #[test]
    fn equal_confidence_tells_nothing_of_the_unknown() {
        let flows = [judged("a", "a", 0.5), Judged { known: false, ..judged("c", "a", 0.5) }];
        assert_eq!(Figures::of(&flows).expect("flows").unknown_auroc, Some(0.5));
        assert_eq!(Figures::of(&flows[..1]).expect("flows").unknown_auroc, None);
    }

    #[test]
    fn the_training_package_finds_the_same_figures() {
        let golden: serde_json::Value = serde_json::from_str(GOLDEN).expect("JSON");
        let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
        let names: Vec<String> = golden["labels"].as_array().expect("labels").iter().map(text).collect();
        let mut vocabulary = Vocabulary::new(&names).expect("the catalogue has them");
        for level in [Level::Service, Level::Protocol, Level::Class] {
            let key = serde_json::to_value(level).expect("a name");
            let key = key.as_str().expect("text");
            let known: Vec<&str> = vocabulary.services().map(|service| level.name(service)).collect();
            let flows = golden["flows"].as_array().expect("flows");
            let judged: Vec<Judged<'_>> = flows
                .iter()
                .map(|flow| {
                    let number = |key: &str| u16::try_from(flow[key].as_u64().expect("a number"));
                    let number = |key: &str| number(key).expect("16 bits");
                    let probabilities = flow["probabilities"].as_array().expect("numbers").iter();
                    let probabilities: Vec<f32> =
                        probabilities.map(|value| value.as_f64().expect("a number") as f32).collect();
                    let answer = vocabulary.answer(&probabilities);
                    let said = level.said(&answer);
                    let truth = flow[key].as_str().expect("text");
                    let (proto, src, dst) = (number("proto") as u8, number("src_port"), number("dst_port"));
                    let known = known.contains(&truth);
                    Judged {
                        truth,
                        said,
                        known,
                        off_port: known && PortTable::shipped().label(proto, src, dst, level) != Some(truth),
                        confidence: match level {
                            Level::Service => answer.service_confidence,
                            _ => answer.confidence,
                        },
                        source: "",
                    }
                })
                .collect();
            let found = serde_json::to_value(Figures::of(&judged).expect("flows")).expect("JSON");
            let (found, wanted) =
                (found.as_object().expect("keys"), golden["figures"][key].as_object().expect("keys"));
            assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
            for (name, wanted) in wanted {
                match (found[name].as_f64(), wanted.as_f64()) {
                    (Some(a), Some(b)) => assert!((a - b).abs() < 1e-6, "{key} {name}: {a} {b}"),
                    (a, b) => assert_eq!(a, b, "{key} {name}"),
                }
            }
        }
    }
}
