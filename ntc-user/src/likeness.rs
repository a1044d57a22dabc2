//! Words that were meant where another was written.

/// `; did you mean "…"?` for the known word that is most like this one, if one is.
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let folded = word.to_lowercase();
    let likeness = |known: &str| {
        let known = known.to_lowercase();
        // A word that was broken off is the likeliest.
        if folded.len() > 2 && known.starts_with(&folded) {
            1.0
        } else {
            strsim::jaro_winkler(&folded, &known)
        }
    };
    let best =
        known.into_iter().map(|known| (likeness(known), known)).max_by(|(a, _), (b, _)| a.total_cmp(b));
    best.filter(|(likeness, _)| *likeness > 0.8)
        .map_or_else(String::new, |(_, known)| format!("; did you mean {known:?}?"))
}
