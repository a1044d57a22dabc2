//! Figures for people.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use super::figures::{Figures, Judged, by_label, confusions, share_right};

/// Labels of the one-vs-rest table.
const ONE_VS_REST: usize = 15;
/// Rows of the table of confusions.
const CONFUSIONS: usize = 15;
/// Rows of the table of sources.
const SOURCES: usize = 100;

/// Writes everything that is said of the answers.
///
/// # Errors
/// Those of `out`.
pub fn write(out: &mut impl Write, figures: &Figures, flows: &[Judged<'_>]) -> io::Result<()> {
    write_figures(out, figures)?;
    write_one_vs_rest(out, flows)?;
    write_confusions(out, flows)?;
    write_sources(out, flows)
}

fn write_figures(out: &mut impl Write, figures: &Figures) -> io::Result<()> {
    let count = |n: usize| n.to_string();
    let share = |value: f64| format!("{value:.4}");
    let maybe = |value: Option<f64>| value.map_or("-".to_owned(), share);
    for (name, value) in [
        ("flows", count(figures.flows)),
        ("  with a label that the model knows", count(figures.known_flows)),
        ("labels", count(figures.labels)),
        ("accuracy", share(figures.accuracy)),
        ("  of known flows", maybe(figures.known_accuracy)),
        ("weighted F1", share(figures.weighted_f1)),
        ("macro F1 (labels with 5 flows or more)", share(figures.macro_f1)),
        ("weighted precision", share(figures.weighted_precision)),
        ("weighted recall", share(figures.weighted_recall)),
        ("off-port flows (the port table is wrong or silent)", count(figures.off_port_flows)),
        ("  accuracy", maybe(figures.off_port_accuracy)),
        ("expected calibration error", share(figures.ece)),
        ("accuracy of the surest 90%", maybe(figures.coverage_90_accuracy)),
        ("unknown labels told from known ones (AUROC)", maybe(figures.unknown_auroc)),
    ] {
        writeln!(out, "{name:<52} {value:>8}")?;
    }
    Ok(())
}

fn write_one_vs_rest(out: &mut impl Write, flows: &[Judged<'_>]) -> io::Result<()> {
    let total = flows.len() as f64;
    let mut labels: Vec<_> = by_label(flows).into_iter().filter(|(_, tally)| tally.flows > 0).collect();
    // A stable sort: equal ones stay in the order of their names.
    labels.sort_by_key(|(_, tally)| std::cmp::Reverse(tally.flows));
    writeln!(
        out,
        "\n{:<30} {:>7} {:>7} {:>9} {:>10} {:>7} {:>7}",
        "one label against the rest", "flows", "share", "accuracy", "precision", "recall", "F1"
    )?;
    for (label, tally) in labels.into_iter().take(ONE_VS_REST) {
        let wrong = (tally.flows - tally.hits) + (tally.said - tally.hits);
        writeln!(
            out,
            "{label:<30} {:>7} {:>7.4} {:>9.4} {:>10.4} {:>7.4} {:>7.4}",
            tally.flows,
            tally.flows as f64 / total,
            1.0 - wrong as f64 / total,
            tally.precision(),
            tally.recall(),
            tally.f1()
        )?;
    }
    Ok(())
}

fn write_confusions(out: &mut impl Write, flows: &[Judged<'_>]) -> io::Result<()> {
    writeln!(
        out,
        "\n{:<30} {:<30} {:>7} {:>12}",
        "worst confusions: it is", "the model says", "flows", "of label"
    )?;
    let tallies = by_label(flows);
    for (truth, said, count) in confusions(flows, CONFUSIONS) {
        let of_label = tallies.get(truth).map_or(0.0, |tally| count as f64 / tally.flows as f64);
        writeln!(out, "{truth:<30} {said:<30} {count:>7} {of_label:>12.4}")?;
    }
    Ok(())
}

fn write_sources(out: &mut impl Write, flows: &[Judged<'_>]) -> io::Result<()> {
    let mut sources: BTreeMap<&str, Vec<&Judged<'_>>> = BTreeMap::new();
    flows.iter().for_each(|flow| sources.entry(flow.source).or_default().push(flow));
    let mut sources: Vec<_> = sources.into_iter().collect();
    sources.sort_by_key(|(_, flows)| std::cmp::Reverse(flows.len()));
    writeln!(out, "\n{:<60} {:>7} {:>9}", "source of the captures", "flows", "accuracy")?;
    for (source, flows) in sources.iter().take(SOURCES) {
        let accuracy = share_right(flows.iter().copied()).unwrap_or_default();
        writeln!(out, "{source:<60} {:>7} {accuracy:>9.4}", flows.len())?;
    }
    if sources.len() > SOURCES {
        writeln!(out, "and {} more with fewer flows", sources.len() - SOURCES)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_there() {
        let flow =
            Judged { truth: "A", said: "A", confidence: 0.9, known: true, off_port: true, source: "x/y" };
        let flows = [flow, Judged { truth: "B", ..flow }, Judged { source: "z", ..flow }];
        let figures = Figures::of(&flows).expect("flows");
        let mut out = Vec::new();
        write(&mut out, &figures, &flows).expect("room");
        let text = String::from_utf8(out).expect("text");
        let squeezed: Vec<String> =
            text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        for line in [
            "accuracy 0.6667",
            "A 2 0.6667 0.6667 0.6667 1.0000 0.8000",
            "B 1 0.3333 0.6667 0.0000 0.0000 0.0000",
            "B A 1 1.0000",
            "x/y 2 0.5000",
            "z 1 1.0000",
            "unknown labels told from known ones (AUROC) -",
        ] {
            assert!(squeezed.iter().any(|found| found == line), "{line:?} is not in\n{text}");
        }
    }
}
