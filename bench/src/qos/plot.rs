//! A plot as SVG: how many packets took longer than so long.

use std::fmt::Write as _;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 430.0;
/// Of the axes.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 560.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 370.0;
/// Decades of milliseconds, and of shares.
const DELAYS: (i32, i32) = (-2, 4);
const SHARES: (i32, i32) = (-4, 0);
/// Okabe and Ito's colours, which the colour-blind can tell apart.
const COLOURS: [&str; 8] =
    ["#000000", "#e69f00", "#56b4e9", "#009e73", "#d55e00", "#0072b2", "#cc79a7", "#999999"];

/// The share of packets that took longer than each time; those that never came took longer than any.
pub fn late(way: &str, curves: &[(&str, Vec<Option<f64>>)]) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"14\">Packets of the calls, {way}: share that took longer than</text>\n"
    );
    // Writing to a string does not fail.
    for decade in DELAYS.0..=DELAYS.1 {
        let at = x(10f64.powi(decade));
        let _ = writeln!(svg, "<path d=\"M{at:.1} {TOP}V{BOTTOM}\" stroke=\"#ddd\"/>");
        let label = 10f64.powi(decade);
        let _ = writeln!(svg, "<text x=\"{at:.1}\" y=\"388\" text-anchor=\"middle\">{label} ms</text>");
    }
    for decade in SHARES.0..=SHARES.1 {
        let at = y(10f64.powi(decade));
        let _ = writeln!(svg, "<path d=\"M{LEFT} {at:.1}H{RIGHT}\" stroke=\"#ddd\"/>");
        let label = 100.0 * 10f64.powi(decade);
        let _ = writeln!(svg, "<text x=\"62\" y=\"{:.1}\" text-anchor=\"end\">{label} %</text>", at + 4.0);
    }
    for (index, (name, delays)) in curves.iter().enumerate() {
        let colour = COLOURS[index % COLOURS.len()];
        let _ = writeln!(
            svg,
            "<path d=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\"/>",
            curve(delays)
        );
        let at = TOP + 12.0 + 20.0 * index as f64;
        let _ = writeln!(
            svg,
            "<path d=\"M572 {:.1}h20\" stroke=\"{colour}\" stroke-width=\"3\"/><text x=\"598\" y=\"{at:.1}\">{name}</text>",
            at - 4.0
        );
    }
    svg + "</svg>\n"
}

/// As steps would be, thinned out: two hundred points are more than can be seen.
fn curve(delays: &[Option<f64>]) -> String {
    let mut came: Vec<f64> = delays.iter().flatten().copied().collect();
    came.sort_by(f64::total_cmp);
    let all = delays.len().max(1) as f64;
    let mut path = format!("M{LEFT} {:.1}", y(1.0));
    let mut drawn = 1.0;
    for (index, delay) in came.iter().enumerate() {
        let longer = (all - 1.0 - index as f64) / all;
        if longer < drawn * 0.95 || index + 1 == came.len() {
            let _ = write!(path, "L{:.1} {:.1}", x(*delay), y(longer));
            drawn = longer;
        }
    }
    if came.len() < delays.len() {
        let _ = write!(path, "H{RIGHT}");
    }
    path
}

fn x(ms: f64) -> f64 {
    let (low, high) = (f64::from(DELAYS.0), f64::from(DELAYS.1));
    LEFT + (RIGHT - LEFT) * ((ms.max(1e-9).log10() - low) / (high - low)).clamp(0.0, 1.0)
}

fn y(share: f64) -> f64 {
    let (low, high) = (f64::from(SHARES.0), f64::from(SHARES.1));
    BOTTOM - (BOTTOM - TOP) * ((share.max(1e-9).log10() - low) / (high - low)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_came_is_late_for_ever() {
        let (lost, all) = (vec![Some(1.0), None], vec![Some(1.0), Some(2.0)]);
        let half = format!("L{:.1} {:.1}H{RIGHT}", x(1.0), y(0.5));
        assert!(curve(&lost).ends_with(&half), "{}", curve(&lost));
        assert!(!curve(&all).contains('H'));
        let plot = late("up", &[("a", all), ("b", lost)]);
        assert!(plot.starts_with("<svg") && plot.matches("fill=\"none\"").count() == 2, "{plot}");
    }
}
