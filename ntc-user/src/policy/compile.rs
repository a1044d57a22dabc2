//! A policy file becomes what the kernel takes.

use std::{ops::Range, sync::LazyLock};

use ntc_common::{
    limits::{CLASS_NAME_BYTES, MAX_CLASSES, MAX_POLICY_TEXT, MAX_RULES},
    policy::{
        CLASS_NAMES, ClassAction, ExistingDscp, PolicyTable, ServiceAction, mark_of, policy_flags::READS_MAC,
    },
    rules::Rule,
};
use serde_json::Value as Json;

use super::{
    Policy,
    file::{self, ClassEntry, File, Lenient, RuleEntry},
    mistakes::{Mistake, Report},
    select::Selectors,
    values::{Ports, Share},
};
use crate::{catalogue::class_number, likeness::did_you_mean};

/// Unless the file says otherwise: reordering comes with every change of class.
const MAX_CHANGES: u8 = 2;
const MIN_CONFIDENCE: Share = Share(0.5);
const HYSTERESIS: Share = Share(0.1);
/// The rule's class that says: leave it alone.
const NONE: &str = "none";
/// Code points below best effort: LE (RFC 8622) and what stood for it before (RFC 3662).
const LOWER_EFFORT: [u8; 2] = [1, 8];

static SCHEMA: LazyLock<Json> = LazyLock::new(|| file::schema().into());

/// Reads and checks all of it.
pub(super) fn compile(text: &str, mark_mask: u32) -> Result<Policy, Vec<Mistake>> {
    let mut report = Report::new(text, &SCHEMA);
    if text.len() > MAX_POLICY_TEXT {
        report.mistake(
            0..0,
            format!("{} bytes are more than the {MAX_POLICY_TEXT} that ntc keeps", text.len()),
        );
    }
    let mut compiler = Compiler { table: Box::new(PolicyTable { mark_mask, ..PolicyTable::IDLE }), report };
    let mut rule_lines = Vec::new();
    let mut selectors = std::collections::HashMap::new();
    if compiler.report.mistakes.iter().all(|mistake| mistake.what.starts_with("no such key")) {
        match toml::from_str::<File>(text) {
            Ok(file) => (selectors, rule_lines) = compiler.file(&file),
            Err(error) => {
                compiler.report.mistake(error.span().unwrap_or_default(), error.message().to_owned());
            }
        }
    }
    let Compiler { table, mut report } = compiler;
    report.sort();
    if report.mistakes.is_empty() {
        Ok(Policy { table, text: text.to_owned(), warnings: report.warnings, selectors, rule_lines })
    } else {
        Err(report.mistakes)
    }
}

struct Compiler<'a> {
    table: Box<PolicyTable>,
    report: Report<'a>,
}

type Reasons = std::collections::HashMap<u16, super::Selector>;

impl Compiler<'_> {
    fn file(&mut self, file: &File) -> (Reasons, Vec<usize>) {
        self.table.max_changes = self.value(&file.max_changes).unwrap_or(MAX_CHANGES);
        let mut selectors = Selectors::default();
        let mut least = [0u16; MAX_CLASSES as usize];
        // Numbers first: the catalogue's classes have theirs, one's own follow by name.
        let mut own = CLASS_NAMES.len();
        for (name, entry) in &file.class {
            let (span, word) = (name.span(), name.get_ref());
            let number = match class_number(word) {
                Some(0) => {
                    self.report
                        .mistake(span, "unknown is no class: [default] says what is done with such packets");
                    continue;
                }
                Some(number) => number,
                None => {
                    if !is_class_name(word) {
                        self.report.mistake(
                            span,
                            format!("{word:?} is no name for a class: a to z, 0 to 9, - and _, at most {CLASS_NAME_BYTES}"),
                        );
                        continue;
                    }
                    if own >= MAX_CLASSES as usize {
                        let room = MAX_CLASSES as usize - CLASS_NAMES.len();
                        self.report.mistake(span, format!("more than {room} classes of one's own"));
                        continue;
                    }
                    own += 1;
                    (own - 1) as u8
                }
            };
            let slot = usize::from(number);
            self.table.names[slot][..word.len()].copy_from_slice(word.as_bytes());
            least[slot] = self.class(number, &span, entry);
            if !selectors.take(number, word, &span, entry, &mut self.report) && !is_used(file, word) {
                let close = did_you_mean(word, CLASS_NAMES[1..].iter().copied());
                self.report.warning(
                    span,
                    format!(
                        "nothing chooses this class: give it services, protocols, categories or a rule{close}"
                    ),
                );
            }
        }
        self.same_marks(file);
        let chosen = selectors.resolve(&mut self.report);
        for (service, (class, _)) in &chosen {
            self.table.services[usize::from(*service)] =
                ServiceAction { min_confidence: least[usize::from(*class)], class: *class, reserved: 0 };
        }
        self.table.unlabelled = self.default_class(&file.default.unlabelled);
        self.table.unknown = self.default_class(&file.default.unknown);
        let lines = self.rules(file);
        (chosen.into_iter().map(|(service, (_, selector))| (service, selector)).collect(), lines)
    }

    /// A value that was given and is right.
    fn value<T: Clone>(&mut self, written: &Option<Lenient<T>>) -> Option<T> {
        match &written.as_ref()?.value {
            Ok(value) => Some(value.clone()),
            Err(what) => {
                let span = written.as_ref().map(|written| written.span.clone()).unwrap_or_default();
                self.report.mistake(span, what.clone());
                None
            }
        }
    }

    /// Compiles a class; returns its least confidence.
    fn class(&mut self, number: u8, span: &Range<usize>, entry: &ClassEntry) -> u16 {
        let priority = self.value(&entry.priority).map_or(0, |priority| priority.0);
        let dscp = self.value(&entry.dscp).map(|dscp| dscp.0);
        let existing = self.value(&entry.existing_dscp).map_or(ExistingDscp::IfZero, |existing| existing.0);
        let drop = self.value(&entry.drop).unwrap_or(false);
        let least = self.value(&entry.min_confidence).unwrap_or(MIN_CONFIDENCE);
        let hysteresis = self.value(&entry.hysteresis).unwrap_or(HYSTERESIS);
        if entry.hysteresis.is_some() && least.0 + hysteresis.0 > 1.0 {
            let span = entry.hysteresis.as_ref().map_or_else(|| span.clone(), |written| written.span.clone());
            let what = format!(
                "with min_confidence {} it is above 1: no flow would ever change to this class",
                least.0
            );
            self.report.mistake(span, what);
        }
        let mask = self.table.mark_mask;
        let mark = self.value(&entry.mark).map_or_else(|| mark_of(number, mask), |mark| mark.0);
        if mark & !mask != 0 {
            let span = entry.mark.as_ref().map_or_else(|| span.clone(), |written| written.span.clone());
            self.report.mistake(
                span,
                format!("{mark:#010x} has bits outside ntc's mask {mask:#010x} (--mark-mask)"),
            );
        }
        if drop && (entry.priority.is_some() || entry.dscp.is_some()) {
            self.report.warning(span.clone(), "its packets are dropped: priority and dscp mean nothing");
        }
        self.table.classes[usize::from(number)] = ClassAction {
            priority,
            mark,
            hysteresis: hysteresis.fixed(),
            dscp: dscp.unwrap_or(0),
            existing_dscp: if dscp.is_some() { existing } else { ExistingDscp::Never } as u8,
            drop: u8::from(drop),
            reserved: [0; 3],
        };
        least.fixed()
    }

    /// Behind NAT the mark alone tells the class: no two may have the same.
    fn same_marks(&mut self, file: &File) {
        let names: Vec<_> = file.class.keys().collect();
        for (index, name) in names.iter().enumerate() {
            let action = |name: &str| self.number(name).map(|class| self.table.classes[usize::from(class)]);
            let Some(mark) = action(name.get_ref()).map(|action| action.mark) else { continue };
            let twin = names[..index]
                .iter()
                .find(|twin| action(twin.get_ref()).is_some_and(|twin| twin.mark == mark));
            if let Some(twin) = twin.map(|twin| twin.get_ref().clone()) {
                self.report.mistake(name.span(), format!("has the same mark {mark:#010x} as {twin}"));
            }
        }
    }

    /// A class of this policy by name.
    fn number(&self, name: &str) -> Option<u8> {
        (1..MAX_CLASSES as u8).find(|class| super::class_name(&self.table, *class).as_deref() == Some(name))
    }

    fn known(&mut self, name: &str, span: Range<usize>) -> Option<u8> {
        let number = self.number(name);
        if number.is_none() {
            let names: Vec<_> =
                (1..MAX_CLASSES as u8).filter_map(|class| super::class_name(&self.table, class)).collect();
            let close = did_you_mean(name, names.iter().map(String::as_str));
            self.report.mistake(span, format!("this policy has no class {name:?}{close}"));
        }
        number
    }

    fn default_class(&mut self, written: &Option<Lenient<String>>) -> u8 {
        let (Some(name), Some(span)) =
            (self.value(written), written.as_ref().map(|written| written.span.clone()))
        else {
            return 0;
        };
        if name == NONE {
            return 0;
        }
        let Some(class) = self.known(&name, span.clone()) else { return 0 };
        let action = self.table.classes[usize::from(class)];
        if action.drop != 0 {
            self.report
                .mistake(span, "what ntc does not know is not dropped: choose a class that does not drop");
            return 0;
        }
        if LOWER_EFFORT.contains(&action.dscp) {
            self.report.warning(span, "puts what ntc does not know below best effort");
        }
        class
    }

    fn rules(&mut self, file: &File) -> Vec<usize> {
        let mut lines = Vec::new();
        for (index, rule) in file.rule.iter().enumerate() {
            if index == MAX_RULES as usize {
                self.report.mistake(
                    rule.span(),
                    format!("more than {MAX_RULES} rules: every packet looks at all of them"),
                );
                break;
            }
            let compiled = self.rule(rule.span(), rule.get_ref());
            let twin = self.table.rules[..index]
                .iter()
                .position(|before| Rule { class: compiled.class, ..*before } == compiled);
            if let Some(twin) = twin {
                let line: usize = lines.get(twin).copied().unwrap_or_default();
                self.report.warning(
                    rule.span(),
                    format!("never counts: the rule in line {line} takes the same packets"),
                );
            }
            if compiled.mac != 0 {
                self.table.flags |= READS_MAC;
            }
            self.table.rules[index] = compiled;
            self.table.rule_count = index as u32 + 1;
            lines.push(self.report.place(rule.span().start).0);
        }
        lines
    }

    fn rule(&mut self, span: Range<usize>, entry: &RuleEntry) -> Rule {
        let class = match (self.value(&entry.class), &entry.class) {
            (Some(name), _) if name == NONE => 0,
            (Some(name), Some(written)) => self.known(&name, written.span.clone()).unwrap_or(0),
            (_, Some(_)) => 0,
            (_, None) => {
                self.report.mistake(span.clone(), "has no class: give a class of this policy, or \"none\"");
                0
            }
        };
        if entry.protocol.is_none() && entry.port.is_none() && entry.address.is_none() && entry.mac.is_none()
        {
            self.report
                .mistake(span, "takes every packet: give protocol, port, address or mac, or use [default]");
        }
        let ports = self.value(&entry.port).unwrap_or(Ports { low: 0, high: u16::MAX });
        let rule = Rule {
            mac: self.value(&entry.mac).map_or(0, |mac| mac.0),
            port_low: ports.low,
            port_high: ports.high,
            protocol: self.value(&entry.protocol).map_or(0, |protocol| protocol.0),
            class,
            ..Rule::NONE
        };
        match self.value(&entry.address) {
            Some(prefix) => rule.with_prefix(prefix.address, prefix.bits),
            None => rule,
        }
    }
}

/// Whether a rule or a default speaks of a class.
fn is_used(file: &File, name: &str) -> bool {
    let rules = file.rule.iter().filter_map(|rule| rule.get_ref().class.as_ref());
    let defaults = [&file.default.unlabelled, &file.default.unknown];
    rules.chain(defaults.into_iter().flatten()).any(|written| written.value.as_deref() == Ok(name))
}

fn is_class_name(name: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    !name.is_empty() && name != NONE && name.len() <= CLASS_NAME_BYTES && name.bytes().all(allowed)
}
