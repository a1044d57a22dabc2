//! Command lines and configuration files with places to fill in: `{port}` is a value, `{pick:a|b}` a draw.

use super::draw::Draw;

/// Fills a text in: first the values by name, then the draws, from left to right. What is in braces and is neither stays
/// as it is, for configuration files have braces of their own.
///
/// | draw | gives |
/// | --- | --- |
/// | `{pick:a\|b\|c}` | one of these, blanks allowed |
/// | `{int:1:200}` | a whole number, both ends included |
/// | `{log:100:90000}` | a whole number, each magnitude as likely as the next |
/// | `{pause:0.01:2}` | seconds, likewise |
pub(super) fn fill(text: &str, values: &[(&str, String)], draw: &mut Draw) -> String {
    let mut filled = text.to_owned();
    for (name, value) in values {
        filled = filled.replace(&format!("{{{name}}}"), value);
    }
    let mut out = String::with_capacity(filled.len());
    let mut rest = filled.as_str();
    while let Some(open) = rest.find('{') {
        let (before, from) = rest.split_at(open);
        out += before;
        let drawn = from.find('}').and_then(|close| Some((close, drawn(&from[1..close], draw)?)));
        match drawn {
            Some((close, value)) => {
                out += &value;
                rest = &from[close + 1..];
            }
            None => {
                out.push('{');
                rest = &from[1..];
            }
        }
    }
    out + rest
}

fn drawn(inside: &str, draw: &mut Draw) -> Option<String> {
    let (kind, what) = inside.split_once(':')?;
    if kind == "pick" {
        let choices: Vec<_> = what.split('|').collect();
        return Some((*draw.pick(&choices)).to_owned());
    }
    let (low, high) = what.split_once(':')?;
    let (low, high): (f64, f64) = (low.parse().ok()?, high.parse().ok()?);
    match kind {
        "int" => Some((low as usize + draw.below((high - low) as usize + 1)).to_string()),
        "log" => Some((draw.log(low, high) as u64).to_string()),
        "pause" => Some(format!("{:.3}", draw.log(low, high))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_draws_are_filled_in_and_other_braces_stay() {
        let mut draw = Draw::new(1, "script");
        let values = [("port", "53".to_owned()), ("dir", "/tmp/x".to_owned())];
        assert_eq!(fill("a {port} {dir}/f { b } {other}", &values, &mut draw), "a 53 /tmp/x/f { b } {other}");
        let picked = fill("{pick:x y|x y}{int:4:4}", &values, &mut draw);
        assert_eq!(picked, "x y4");
        let number: u32 = fill("{log:10:90}", &values, &mut draw).parse().unwrap();
        assert!((10..=90).contains(&number));
    }

    #[test]
    fn a_draw_may_hold_a_value() {
        let mut draw = Draw::new(1, "script");
        let values = [("port", "53".to_owned())];
        assert_eq!(fill("{pick:-p {port}|-p {port}}", &values, &mut draw), "-p 53");
    }
}
