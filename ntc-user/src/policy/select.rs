//! Which class a service belongs to, by the selectors of all classes: the closest one counts.

use std::{collections::HashMap, ops::Range};

use globset::{Glob, GlobMatcher};

use super::{
    file::{ClassEntry, Lenient},
    mistakes::Report,
};
use crate::{
    catalogue::{Catalogue, Service, class_number},
    likeness::did_you_mean,
};

/// How a service came to its class; the first of these that fits counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// By its name.
    Service,
    /// By a pattern.
    Pattern(String),
    /// By its protocol.
    Protocol(String),
    /// By its category.
    Category(String),
}

impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Service => f.write_str("by its name"),
            Self::Pattern(pattern) => write!(f, "by the pattern {pattern:?}"),
            Self::Protocol(protocol) => write!(f, "by its protocol {protocol}"),
            Self::Category(category) => write!(f, "as one of category {category}"),
        }
    }
}

/// A selector as it is written.
struct Written {
    class: u8,
    span: Range<usize>,
    selector: Selector,
    matcher: Matcher,
}

enum Matcher {
    Name(String),
    Pattern(GlobMatcher),
    Protocol(String),
    Category(u8),
}

impl Matcher {
    fn takes(&self, service: &Service) -> bool {
        match self {
            Self::Name(name) => service.name == *name,
            Self::Pattern(pattern) => pattern.is_match(&service.name),
            Self::Protocol(protocol) => service.protocol == *protocol,
            Self::Category(category) => service.class == *category,
        }
    }

    const fn rank(&self) -> usize {
        match self {
            Self::Name(_) => 0,
            Self::Pattern(_) => 1,
            Self::Protocol(_) => 2,
            Self::Category(_) => 3,
        }
    }
}

/// Collects selectors.
#[derive(Default)]
pub(super) struct Selectors {
    written: Vec<Written>,
}

impl Selectors {
    /// Takes those of a class; `true` if it has any.
    pub(super) fn take(
        &mut self,
        class: u8,
        name: &str,
        span: &Range<usize>,
        entry: &ClassEntry,
        report: &mut Report<'_>,
    ) -> bool {
        let catalogue = Catalogue::shipped();
        let lists = [&entry.services, &entry.protocols, &entry.categories];
        let given = lists.iter().any(|list| list.is_some());
        if !given {
            let Some(category) = class_number(name).filter(|category| *category != 0) else { return false };
            self.add(class, span.clone(), Selector::Category(name.to_owned()), Matcher::Category(category));
            return true;
        }
        for service in entry.services.iter().flatten() {
            let Some((word, span)) = word(service, report) else { continue };
            if word.contains(['*', '?', '[']) {
                match Glob::new(word).map(|glob| glob.compile_matcher()) {
                    Ok(glob) if catalogue.services().any(|service| glob.is_match(&service.name)) => {
                        self.add(class, span, Selector::Pattern(word.to_owned()), Matcher::Pattern(glob));
                    }
                    Ok(_) => report.mistake(span, format!("{word:?} fits no service that ntc knows")),
                    Err(error) => report.mistake(span, format!("{word:?} is no pattern: {error}")),
                }
            } else if catalogue.by_name(word).is_some_and(|service| service.id != 0) {
                self.add(class, span, Selector::Service, Matcher::Name(word.to_owned()));
            } else {
                let names = catalogue.services().map(|service| &*service.name);
                report.mistake(span, format!("no service {word:?}{}", did_you_mean(word, names)));
            }
        }
        for protocol in entry.protocols.iter().flatten() {
            let Some((word, span)) = word(protocol, report) else { continue };
            if catalogue.services().any(|service| service.id != 0 && service.protocol == word) {
                self.add(
                    class,
                    span,
                    Selector::Protocol(word.to_owned()),
                    Matcher::Protocol(word.to_owned()),
                );
            } else {
                let names = catalogue.services().map(|service| &*service.protocol);
                report.mistake(span, format!("no protocol {word:?}{}", did_you_mean(word, names)));
            }
        }
        for category in entry.categories.iter().flatten() {
            let Some((word, span)) = word(category, report) else { continue };
            match class_number(word).filter(|category| *category != 0) {
                Some(number) => {
                    self.add(class, span, Selector::Category(word.to_owned()), Matcher::Category(number));
                }
                None => {
                    let known = &ntc_common::policy::CLASS_NAMES[1..];
                    report.mistake(span, format!("no category {word:?}; there are {}", known.join(", ")));
                }
            }
        }
        given
    }

    fn add(&mut self, class: u8, span: Range<usize>, selector: Selector, matcher: Matcher) {
        self.written.push(Written { class, span, selector, matcher });
    }

    /// The class of each service that has one.
    pub(super) fn resolve(self, report: &mut Report<'_>) -> HashMap<u16, (u8, Selector)> {
        let mut chosen = HashMap::new();
        let mut clashes: Vec<(Range<usize>, String)> = Vec::new();
        let mut services: Vec<_> =
            Catalogue::shipped().services().filter(|service| service.id != 0).collect();
        services.sort_unstable_by_key(|service| service.id);
        for service in services {
            let fitting = self.written.iter().filter(|written| written.matcher.takes(service));
            let Some(best) = fitting.clone().min_by_key(|written| written.matcher.rank()) else { continue };
            let mut rivals = fitting.filter(|written| written.matcher.rank() == best.matcher.rank());
            if let Some(rival) = rivals.find(|rival| rival.class != best.class) {
                if clashes.iter().all(|(span, _)| *span != rival.span) {
                    let (line, _) = report.place(best.span.start);
                    clashes.push((
                        rival.span.clone(),
                        format!(
                            "{} is in another class already, {} in line {line}; name it in one of the two",
                            service.name, best.selector
                        ),
                    ));
                }
                continue;
            }
            chosen.insert(service.id, (best.class, best.selector.clone()));
        }
        for (span, what) in clashes {
            report.mistake(span, what);
        }
        chosen
    }
}

fn word<'a>(written: &'a Lenient<String>, report: &mut Report<'_>) -> Option<(&'a str, Range<usize>)> {
    match &written.value {
        Ok(word) => Some((word, written.span.clone())),
        Err(what) => {
            report.mistake(written.span.clone(), what.clone());
            None
        }
    }
}
