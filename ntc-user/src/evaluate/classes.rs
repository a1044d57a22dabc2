//! The class of a labelled flow: `models/classes.csv`, nDPI's protocol and category to class.

use std::sync::LazyLock;

use thiserror::Error;

use crate::catalogue::{class_name, class_number};

const CLASSES_CSV: &str = include_str!("../../../models/classes.csv");
/// In place of a protocol or category: any.
const ANY: &str = "*";

/// A line that is no rule.
#[derive(Debug, Error)]
pub enum ClassError {
    /// It is not three columns.
    #[error(transparent)]
    Line(#[from] csv::Error),
    /// It leads to a class that there is not.
    #[error("there is no class {0:?}")]
    NoClass(String),
}

/// Rules of which the first that fits decides.
#[derive(Debug, Default)]
pub struct ClassRules {
    rules: Vec<(String, String, &'static str)>,
}

impl ClassRules {
    /// The rules that this binary carries.
    pub fn shipped() -> &'static Self {
        static SHIPPED: LazyLock<ClassRules> =
            LazyLock::new(|| ClassRules::parse(CLASSES_CSV).unwrap_or_default());
        &SHIPPED
    }

    /// Reads `protocol,category,class` lines under a header.
    ///
    /// # Errors
    /// The first line that is no rule.
    pub fn parse(text: &str) -> Result<Self, ClassError> {
        let mut rules = Vec::new();
        for row in csv::Reader::from_reader(text.as_bytes()).deserialize() {
            let (protocol, category, class): (String, String, String) = row?;
            let Some(number) = class_number(&class) else {
                return Err(ClassError::NoClass(class));
            };
            rules.push((protocol, category, class_name(number)));
        }
        Ok(Self { rules })
    }

    /// The class of a flow of nDPI's protocol and category.
    pub fn class(&self, protocol: &str, category: &str) -> Option<&'static str> {
        let fits = |wanted: &str, found| wanted == ANY || wanted == found;
        self.rules.iter().find(|rule| fits(&rule.0, protocol) && fits(&rule.1, category)).map(|rule| rule.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rules = ClassRules::parse(CLASSES_CSV).expect("the shipped file reads");
        assert_eq!(rules.class("TLS", "Video"), Some("streaming"));
        assert_eq!(rules.class("TLS", "Web"), Some("web"));
        assert_eq!(rules.class("AFP", "anything"), Some("bulk"));
        assert_eq!(rules.class("never heard of", ""), Some("web"));
    }

    #[test]
    fn mistakes_are_named() {
        let said =
            ClassRules::parse("protocol,category,class\nA,*,fast\n").expect_err("a mistake").to_string();
        assert!(said.contains("fast"), "{said}");
    }
}
