//! What is wrong with a policy file, and where: line, column and field of every mistake, not of the first alone.

use std::{fmt, ops::Range};

use serde::Serialize;
use serde_json::Value as Json;
use toml::de::{DeTable, DeValue};

use crate::likeness::did_you_mean;

/// A mistake, or something that is worth a second look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Which key, as `class.web.dscp` or `rule[2].port`; empty where it is none of a key's.
    pub field: String,
    /// What is wrong, and what to write instead.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, field, what } = self;
        write!(f, "{line}:{column}: {field}{}{what}", if field.is_empty() { "" } else { ": " })
    }
}

/// A line for each mistake in a file: what it is, its path, and the mistake.
pub fn lines(what: &str, path: &str, mistakes: &[Mistake]) -> String {
    let all: Vec<_> = mistakes.iter().map(|mistake| format!("{what} {path}:{mistake}")).collect();
    all.join("\n")
}

/// Collects mistakes by their places in a text.
pub(super) struct Report<'a> {
    text: &'a str,
    document: DeTable<'a>,
    /// Without these the policy is not used.
    pub(super) mistakes: Vec<Mistake>,
    /// It can be used with these.
    pub(super) warnings: Vec<Mistake>,
}

impl<'a> Report<'a> {
    /// Reads the text as TOML, and looks for keys that the schema does not know.
    pub(super) fn new(text: &'a str, schema: &Json) -> Self {
        let (document, errors) = DeTable::parse_recoverable(text);
        let mut report =
            Self { text, document: document.into_inner(), mistakes: Vec::new(), warnings: Vec::new() };
        for error in errors {
            report.mistake(error.span().unwrap_or_default(), error.message().to_owned());
        }
        let mut unknown = Vec::new();
        unknown_keys(&report.document, schema, schema, &mut unknown);
        for (span, what) in unknown {
            report.mistake(span, what);
        }
        report
    }

    pub(super) fn mistake(&mut self, span: Range<usize>, what: impl Into<String>) {
        let found = self.at(span, what.into());
        self.mistakes.push(found);
    }

    pub(super) fn warning(&mut self, span: Range<usize>, what: impl Into<String>) {
        let found = self.at(span, what.into());
        self.warnings.push(found);
    }

    fn at(&self, span: Range<usize>, what: String) -> Mistake {
        let (line, column) = self.place(span.start);
        Mistake { line, column, field: field(&self.document, &span), what }
    }

    /// Line and column of a byte.
    pub(super) fn place(&self, offset: usize) -> (usize, usize) {
        place(self.text, offset)
    }

    /// In the order of the text.
    pub(super) fn sort(&mut self) {
        for list in [&mut self.mistakes, &mut self.warnings] {
            list.sort_by_key(|mistake| (mistake.line, mistake.column));
            list.dedup();
        }
    }
}

/// Line and column of a byte.
pub fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

/// Keys that the schema has no property for.
fn unknown_keys(table: &DeTable<'_>, schema: &Json, root: &Json, unknown: &mut Vec<(Range<usize>, String)>) {
    let schema = resolve(schema, root);
    let known = schema.get("properties").and_then(Json::as_object);
    let of_all = schema.get("additionalProperties").filter(|all| all.is_object());
    for (key, value) in table {
        let name = &**key.get_ref();
        let Some(of_key) = known.and_then(|known| known.get(name)).or(of_all) else {
            let names = || known.into_iter().flat_map(|known| known.keys().map(String::as_str));
            let list = names().collect::<Vec<_>>().join(", ");
            let guess = did_you_mean(name, names());
            let hint = if guess.is_empty() { format!("; there are {list}") } else { guess };
            unknown.push((key.span(), format!("no such key{hint}")));
            continue;
        };
        match value.get_ref() {
            DeValue::Table(table) => unknown_keys(table, of_key, root, unknown),
            DeValue::Array(values) => {
                let Some(items) = resolve(of_key, root).get("items") else { continue };
                for value in values.iter() {
                    if let DeValue::Table(table) = value.get_ref() {
                        unknown_keys(table, items, root, unknown);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Follows a reference into the schema's definitions.
fn resolve<'a>(schema: &'a Json, root: &'a Json) -> &'a Json {
    let pointer = schema.get("$ref").and_then(Json::as_str).and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| root.pointer(pointer)).unwrap_or(schema)
}

/// The innermost key that the span belongs to.
fn field(table: &DeTable<'_>, span: &Range<usize>) -> String {
    let holds = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    for (key, value) in table {
        let name = &**key.get_ref();
        let inner = match value.get_ref() {
            DeValue::Table(table) => Some(field(table, span)).filter(|inner| !inner.is_empty()),
            DeValue::Array(values) => values.iter().enumerate().find_map(|(index, value)| {
                let DeValue::Table(table) = value.get_ref() else { return None };
                let inner = field(table, span);
                match (inner.is_empty(), holds(value.span())) {
                    (false, _) => Some(format!("[{index}].{inner}")),
                    (true, true) => Some(format!("[{index}]")),
                    _ => None,
                }
            }),
            _ => None,
        };
        if let Some(inner) = inner {
            let dot = if inner.starts_with('[') { "" } else { "." };
            return format!("{name}{dot}{inner}");
        }
        if holds(key.span()) || holds(value.span()) {
            return name.to_owned();
        }
    }
    String::new()
}
