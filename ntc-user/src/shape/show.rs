//! A plan, for people.

use std::fmt;

use super::{Found, Kind, Plan, Queue};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = match &self.found {
            Found::Default(kind) => format!("{kind}, the kernel's own, which comes back afterwards"),
            Found::Ours => "ntc's own, from before".into(),
            Found::Foreign(qdisc) => {
                format!("{} {:x}:, somebody's: asks for --replace", qdisc.kind, qdisc.handle >> 16)
            }
        };
        let (what, first, second) = match self.kind {
            Kind::Htb => ("htb", "always", "at most"),
            Kind::Cake => ("cake diffserv4", "goes first", "at most"),
        };
        writeln!(f, "{}: {what} {:x}: at {}, in place of {found}", self.interface, self.major, self.rate)?;
        writeln!(f, "{:<8}{:<12}{first:>12}{second:>12}  classes", "class", "tin")?;
        for Queue { minor, classes, tin, rate } in &self.queues {
            let classes = if classes.is_empty() {
                match self.kind {
                    Kind::Htb => "what ntc leaves alone".into(),
                    Kind::Cake => "none; what carries such a code point already".into(),
                }
            } else {
                classes.join(", ")
            };
            let handle = format!("{:x}:{minor:x}", self.major);
            writeln!(
                f,
                "{handle:<8}{tin:<12}{:>12}{:>12}  {classes}",
                rate.to_string(),
                self.rate.to_string()
            )?;
        }
        Ok(())
    }
}
