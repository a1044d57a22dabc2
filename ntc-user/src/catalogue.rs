//! The services that ntc knows by name: `models/services.csv`, append-only.

use std::{collections::HashMap, sync::LazyLock};

use ntc_common::{limits::MAX_SERVICES, policy::CLASS_NAMES};
use thiserror::Error;

/// The file itself: ids in it never change, so labels survive a change of model.
const SERVICES_CSV: &str = include_str!("../../models/services.csv");

/// The id that says: nobody knows.
pub const UNKNOWN: u16 = 0;

/// One service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Stable id.
    pub id: u16,
    /// nDPI's full name (`TLS.Google`).
    pub name: String,
    /// Its protocol (`TLS`).
    pub protocol: String,
    /// QoS class number, see [`CLASS_NAMES`].
    pub class: u8,
}

/// The number of a class.
pub fn class_number(name: &str) -> Option<u8> {
    CLASS_NAMES.iter().position(|class| *class == name).and_then(|number| u8::try_from(number).ok())
}

/// The name of a class number.
pub fn class_name(number: u8) -> &'static str {
    CLASS_NAMES.get(usize::from(number)).copied().unwrap_or("unknown")
}

/// A line of the catalogue that cannot be read.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("services.csv line {line}: {what}")]
pub struct CatalogueError {
    line: usize,
    what: String,
}

/// All services, by id and by name.
#[derive(Debug, Default)]
pub struct Catalogue {
    by_id: HashMap<u16, Service>,
    by_name: HashMap<String, u16>,
}

impl Catalogue {
    /// The catalogue that this binary carries.
    pub fn shipped() -> &'static Self {
        static SHIPPED: LazyLock<Catalogue> =
            LazyLock::new(|| Catalogue::parse(SERVICES_CSV).unwrap_or_default());
        &SHIPPED
    }

    /// Reads `id,service,protocol,class` lines.
    ///
    /// # Errors
    /// The first line that is no service, or names one twice.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        let mut catalogue = Self::default();
        for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.starts_with("id,")) {
            let error = |what: &str| CatalogueError { line, what: format!("{what}: {text:?}") };
            let [id, name, protocol, class] = text.split(',').collect::<Vec<_>>()[..] else {
                return Err(error("not `id,service,protocol,class`"));
            };
            let id = id.parse().ok().filter(|id| u32::from(*id) < MAX_SERVICES);
            let id = id.ok_or_else(|| error(&format!("the id is no number below {MAX_SERVICES}")))?;
            let class = class_number(class).ok_or_else(|| error("no such class"))?;
            let service = Service { id, name: name.into(), protocol: protocol.into(), class };
            if catalogue.by_name.insert(service.name.clone(), id).is_some()
                || catalogue.by_id.insert(id, service).is_some()
            {
                return Err(error("listed twice"));
            }
        }
        Ok(catalogue)
    }

    /// A service by id.
    pub fn get(&self, id: u16) -> Option<&Service> {
        self.by_id.get(&id)
    }

    /// A service by nDPI's full name.
    pub fn by_name(&self, name: &str) -> Option<&Service> {
        self.by_name.get(name).and_then(|id| self.by_id.get(id))
    }

    /// All services, in no order.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.by_id.values()
    }

    /// Full name and protocol of an id; `unknown` for one that is not listed.
    pub fn names(&self, id: u16) -> (&str, &str) {
        self.get(id).map_or(("unknown", "unknown"), |service| (&service.name, &service.protocol))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_catalogue_is_whole() {
        let catalogue = Catalogue::parse(SERVICES_CSV).expect("the shipped file reads");
        assert!(catalogue.services().count() > 100);
        assert!(catalogue.services().all(|service| u32::from(service.id) < MAX_SERVICES));
        assert_eq!(catalogue.names(UNKNOWN), ("unknown", "unknown"));
        assert_eq!(catalogue.by_name("DNS").map(|service| service.id), Some(5));
    }

    #[test]
    fn mistakes_name_their_line() {
        let error = |text| Catalogue::parse(text).expect_err("a mistake").to_string();
        assert!(error("1,A,A,web\nx").contains("line 2"));
        assert!(error("1,A,A,web\n1,B,B,web").contains("listed twice"));
        assert!(error("1,A,A,fast").contains("no such class"));
        assert!(error("70000,A,A,web").contains("below 4096"));
        assert!(error("4096,A,A,web").contains("below 4096"));
    }
}
