//! What the person wants to see.

use std::net::IpAddr;

use ipnet::IpNet;
use ratatui::{
    crossterm::event::{KeyCode, KeyEvent, KeyModifiers},
    widgets::TableState,
};

use crate::catalogue::class_number;

/// What is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tab {
    #[default]
    Flows,
    Services,
    Classes,
    Agent,
}

impl Tab {
    /// In the order of their keys.
    pub const ALL: [Self; 4] = [Self::Flows, Self::Services, Self::Classes, Self::Agent];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Flows => "Flows",
            Self::Services => "Services",
            Self::Classes => "Classes",
            Self::Agent => "Agent",
        }
    }
}

/// In which orders the API gives flows, and what each is called.
const ORDERS: [(&str, &str); 6] = [
    ("rate", "rate"),
    ("bytes", "bytes"),
    ("packets", "packets"),
    ("latest", "latest label"),
    ("unsure", "least sure"),
    ("key", "address"),
];

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Show what is known.
    Draw,
    /// Ask the agent, then show.
    Look,
    /// Leave.
    End,
}

/// What the person wants to see.
#[derive(Debug, Default)]
pub struct State {
    pub tab: Tab,
    order: usize,
    pub filter: String,
    /// The filter as it is typed.
    pub typing: Option<String>,
    pub paused: bool,
    pub help: bool,
    pub table: TableState,
    /// Why there is no newer picture.
    pub trouble: Option<String>,
}

impl State {
    /// As the API has it.
    pub const fn order(&self) -> &'static str {
        ORDERS[self.order].0
    }

    /// As it is shown.
    pub const fn order_name(&self) -> &'static str {
        ORDERS[self.order].1
    }

    /// The filter as the API has it: each word an address or a prefix, a port, `tcp` or `udp`, a class, or a service.
    pub fn query(&self) -> String {
        self.filter.split_whitespace().fold(String::new(), |mut query, word| {
            let key = match word {
                _ if word.parse::<IpAddr>().is_ok() || word.parse::<IpNet>().is_ok() => "prefix",
                _ if word.parse::<u16>().is_ok() => "port",
                "tcp" | "udp" => "proto",
                "provisional" | "final" => "stage",
                _ if word.split(',').all(|name| class_number(name).is_some()) => "class",
                _ => "service",
            };
            // What a query string cannot hold is in no such name.
            let word: String =
                word.chars().filter(|c| c.is_ascii_alphanumeric() || ".,:/_-".contains(*c)).collect();
            query.push_str(&format!("&{key}={word}"));
            query
        })
    }

    /// Takes a key press in.
    pub fn key(&mut self, key: KeyEvent) -> Step {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Step::End;
        }
        if self.typing.is_some() {
            return self.type_filter(key.code);
        }
        if self.help {
            self.help = false;
            return Step::Draw;
        }
        match key.code {
            KeyCode::Char('q') => return Step::End,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.help = true,
            KeyCode::Char('/') => self.typing = Some(self.filter.clone()),
            KeyCode::Char('p' | ' ') => {
                self.paused = !self.paused;
                return if self.paused { Step::Draw } else { Step::Look };
            }
            KeyCode::Char('s') => {
                self.order = (self.order + 1) % ORDERS.len();
                return Step::Look;
            }
            KeyCode::Esc if !self.filter.is_empty() => {
                self.filter.clear();
                return Step::Look;
            }
            KeyCode::Char(digit @ '1'..='4') => return self.turn_to(digit as usize - '1' as usize),
            KeyCode::Tab | KeyCode::Right => return self.turn_to(self.tab as usize + 1),
            KeyCode::BackTab | KeyCode::Left => return self.turn_to(self.tab as usize + Tab::ALL.len() - 1),
            KeyCode::Down | KeyCode::Char('j') => self.table.select_next(),
            KeyCode::Up | KeyCode::Char('k') => self.table.select_previous(),
            KeyCode::PageDown => self.table.scroll_down_by(15),
            KeyCode::PageUp => self.table.scroll_up_by(15),
            KeyCode::Home | KeyCode::Char('g') => self.table.select_first(),
            KeyCode::End | KeyCode::Char('G') => self.table.select_last(),
            _ => {}
        }
        Step::Draw
    }

    fn turn_to(&mut self, tab: usize) -> Step {
        self.tab = Tab::ALL[tab % Tab::ALL.len()];
        self.table.select_first();
        Step::Look
    }

    fn type_filter(&mut self, code: KeyCode) -> Step {
        let Some(text) = &mut self.typing else { return Step::Draw };
        match code {
            KeyCode::Enter => {
                self.filter = std::mem::take(text);
                self.typing = None;
                self.table.select_first();
                return Step::Look;
            }
            KeyCode::Esc => self.typing = None,
            KeyCode::Backspace => {
                text.pop();
            }
            KeyCode::Char(character) if text.len() < 60 => text.push(character),
            _ => {}
        }
        Step::Draw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(state: &mut State, keys: &str) -> Step {
        keys.chars().fold(Step::Draw, |_, character| {
            let code = match character {
                '\n' => KeyCode::Enter,
                '\x1b' => KeyCode::Esc,
                '\t' => KeyCode::Tab,
                _ => KeyCode::Char(character),
            };
            state.key(KeyEvent::new(code, KeyModifiers::NONE))
        })
    }

    #[test]
    fn words_of_a_filter_are_what_they_look_like() {
        let mut state = State::default();
        assert_eq!(press(&mut state, "/192.0.2.0/24 443 tcp web,rpc TLS.Google&x=1\n"), Step::Look);
        assert_eq!(
            state.query(),
            "&prefix=192.0.2.0/24&port=443&proto=tcp&class=web,rpc&service=TLS.Googlex1"
        );
        // What is typed may be given up, and what is set taken away.
        assert_eq!(press(&mut state, "/q\x1b"), Step::Draw);
        assert!(state.typing.is_none() && !state.filter.is_empty());
        assert_eq!(press(&mut state, "\x1b"), Step::Look);
        assert_eq!(state.query(), "");
    }

    #[test]
    fn keys_do_what_the_help_says() {
        let mut state = State::default();
        assert_eq!((press(&mut state, "2"), state.tab), (Step::Look, Tab::Services));
        assert_eq!((press(&mut state, "\t\t\t"), state.tab), (Step::Look, Tab::Flows));
        assert_eq!((press(&mut state, "s"), state.order()), (Step::Look, "bytes"));
        assert_eq!((press(&mut state, "p"), state.paused), (Step::Draw, true));
        assert_eq!((press(&mut state, "?"), state.help), (Step::Draw, true));
        assert_eq!((press(&mut state, "q"), state.help), (Step::Draw, false), "any key leaves the help");
        assert_eq!(press(&mut state, "q"), Step::End);
    }
}
