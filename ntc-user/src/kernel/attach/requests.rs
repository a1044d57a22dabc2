//! What the user asks for: interfaces by name or pattern, and what ntc is to do there.

use globset::{GlobBuilder, GlobMatcher};

use crate::kernel::{KernelError, netlink::links::Link};

/// What ntc does on an interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Duties {
    /// Packets are accounted here.
    pub capture: bool,
    /// Labels act here.
    pub enforce: bool,
}

impl Duties {
    /// Something is to be done.
    pub const fn any(self) -> bool {
        self.capture || self.enforce
    }

    const fn and(self, other: Self) -> Self {
        Self { capture: self.capture || other.capture, enforce: self.enforce || other.enforce }
    }
}

/// `--iface`, `--capture` and `--enforce` together.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    all: Vec<Request>,
}

#[derive(Clone, Debug)]
struct Request {
    name: String,
    /// Of a name with wildcards.
    pattern: Option<GlobMatcher>,
    duties: Duties,
}

impl Request {
    fn is_for(&self, name: &str) -> bool {
        match &self.pattern {
            Some(pattern) => pattern.is_match(name),
            None => self.name == name,
        }
    }
}

impl Requests {
    /// Takes the lists. A name with `*`, `?` or `[` is a pattern, by the rules of the shell.
    ///
    /// # Errors
    /// A pattern that is none.
    pub fn new(both: &[String], capture: &[String], enforce: &[String]) -> Result<Self, KernelError> {
        let lists = [
            (both, Duties { capture: true, enforce: true }),
            (capture, Duties { capture: true, enforce: false }),
            (enforce, Duties { capture: false, enforce: true }),
        ];
        let mut all = Vec::new();
        for (names, duties) in lists {
            for name in names {
                let pattern = if name.contains(['*', '?', '[']) {
                    let glob = GlobBuilder::new(name).build();
                    let glob =
                        glob.map_err(|error| KernelError::Pattern(name.clone(), error.kind().to_string()))?;
                    Some(glob.compile_matcher())
                } else {
                    None
                };
                all.push(Request { name: name.clone(), pattern, duties });
            }
        }
        Ok(Self { all })
    }

    /// Packets are accounted somewhere.
    pub fn captures(&self) -> bool {
        self.all.iter().any(|request| request.duties.capture)
    }

    /// Its name was given as it is, not by a pattern.
    pub fn names(&self, link: &Link) -> bool {
        self.all.iter().any(|request| request.pattern.is_none() && request.name == link.name)
    }

    /// Compares with what there is.
    ///
    /// # Errors
    /// An interface that is not there, unless it may come later; loopback, on which ntc does not capture.
    pub fn check(&self, links: &[Link], may_come_later: bool) -> Result<(), KernelError> {
        for request in self.all.iter().filter(|request| request.pattern.is_none()) {
            match links.iter().find(|link| link.name == request.name) {
                Some(link) if link.is_loopback() && request.duties.capture => {
                    return Err(KernelError::Loopback(request.name.clone()));
                }
                None if !may_come_later => return Err(KernelError::NoInterface(request.name.clone())),
                _ => {}
            }
        }
        Ok(())
    }

    /// What is to be done on an interface. Patterns pass over loopback.
    pub fn duties(&self, link: &Link) -> Duties {
        let asked = self.all.iter().filter(|request| request.is_for(&link.name));
        let asked = asked.filter(|request| !link.is_loopback() || request.pattern.is_none());
        let duties = asked.fold(Duties::default(), |duties, request| duties.and(request.duties));
        Duties { capture: duties.capture && !link.is_loopback(), ..duties }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    fn link(name: &str) -> Link {
        Link { name: name.into(), hardware: libc::ARPHRD_ETHER, ..Link::default() }
    }

    #[test]
    fn lists_and_patterns_add_up() {
        let requests =
            Requests::new(&names(&["a"]), &names(&["b", "ppp*"]), &names(&["b", "c"])).expect("patterns");
        let of = |name| {
            let Duties { capture, enforce } = requests.duties(&link(name));
            (capture, enforce)
        };
        assert_eq!([of("a"), of("b"), of("c")], [(true, true), (true, true), (false, true)]);
        assert_eq!([of("ppp0"), of("ppp"), of("app0")], [(true, false), (true, false), (false, false)]);
        assert!(requests.captures());
        assert!(matches!(Requests::new(&names(&["a["]), &[], &[]), Err(KernelError::Pattern(..))));
    }

    #[test]
    fn what_is_missing_is_an_error_unless_it_may_come() {
        let requests = Requests::new(&names(&["a", "wg*"]), &[], &[]).expect("patterns");
        assert!(matches!(requests.check(&[], false), Err(KernelError::NoInterface(name)) if name == "a"));
        requests.check(&[], true).expect("may come");
        requests.check(&[link("a")], false).expect("patterns may match nothing");
    }

    #[test]
    fn loopback_is_refused_by_name_and_passed_over_by_patterns() {
        let lo = Link { hardware: libc::ARPHRD_LOOPBACK, ..link("lo") };
        let named = Requests::new(&names(&["lo"]), &[], &[]).expect("a name");
        assert!(matches!(named.check(std::slice::from_ref(&lo), false), Err(KernelError::Loopback(_))));
        let all = Requests::new(&names(&["*"]), &[], &[]).expect("a pattern");
        all.check(std::slice::from_ref(&lo), false).expect("passed over");
        assert!(!all.duties(&lo).any() && all.duties(&link("a")).any());
    }
}
