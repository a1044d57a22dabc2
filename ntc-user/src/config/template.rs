//! The file as packages bring it: every key with what it does, its default and its variable, all of them left out.

use std::fmt::Write as _;

use clap::CommandFactory as _;

use super::{ConfigError, Setting, settings};
use crate::cli::Cli;

const HEAD: &str = "\
# ntc's configuration: the options of `ntc run`, by their long names. docs/operating.md in /usr/share/doc/ntc tells
# which to take for a router, a router with NAT, and a host.
#
# A line that begins with # is not read; what stands there is the default, or an example where there is none.
# Flags come before environment variables, and these before this file. `ntc config check` finds mistakes in it,
# `ntc config show` tells what counts and who said so. `systemctl reload ntc` takes a change of policy, dry-run or
# model over without losing a flow; other changes need `systemctl restart ntc`, which keeps labels, too.
";
/// What stands for keys without a default.
const EXAMPLES: &[(&str, &str)] = &[
    ("iface", "[\"br0\", \"eth0\"]"),
    ("capture", "[\"br0\"]"),
    ("enforce", "[\"br0\", \"eth0\"]"),
    ("policy", "\"/etc/ntc/policy.toml\""),
    ("shape", "[\"eth0=20mbit\"]"),
    ("shadow-policy", "\"/etc/ntc/policy.next.toml\""),
    ("shadow-model", "\"mine\""),
    ("user", "\"ntc\""),
    ("duration", "3600"),
    ("export", "[\"ipfix+tcp://192.0.2.7\", \"file:///var/log/ntc/flows.jsonl\"]"),
    ("api-socket", "\"/run/ntc/ntc.sock\""),
    ("api-listen", "[\"127.0.0.1:8080\"]"),
    ("api-tls-cert", "\"/etc/ntc/api.pem\""),
    ("api-tls-key", "\"/etc/ntc/api.key\""),
    ("api-tokens", "\"/etc/ntc/tokens\""),
    ("model", "\"mine\""),
    ("models", "\"/var/lib/ntc/models\""),
    ("onnxruntime", "\"/usr/lib/ntc/libonnxruntime.so\""),
];
/// What differs from the default on an installed system.
const SET: &[(&str, &str)] = &[("wait-for-interfaces", "true")];
/// Columns of a line.
const WIDTH: usize = 110;

/// The text of the file.
///
/// # Errors
/// This process's environment has a variable that ntc cannot take.
pub fn template() -> Result<String, ConfigError> {
    let mut text = HEAD.to_owned();
    let mut heading = None;
    for setting in settings(Cli::command(), None)? {
        if setting.heading != heading {
            heading.clone_from(&setting.heading);
            if let Some(heading) = &heading {
                // Writing to a string does not fail.
                let _ = write!(text, "\n# {heading}\n");
            }
        }
        text.push('\n');
        entry(&mut text, &setting);
    }
    Ok(text)
}

fn entry(text: &mut String, setting: &Setting) {
    let choices =
        if setting.choices.is_empty() { String::new() } else { format!(" ({})", setting.choices.join(", ")) };
    let help = setting.help.replace("; may be repeated", "");
    for line in wrapped(&format!("{help}{choices}. {}", setting.variable)) {
        let _ = writeln!(text, "# {line}");
    }
    let of = |list: &[(&str, &'static str)]| {
        list.iter().find(|(key, _)| *key == setting.key).map(|(_, value)| *value)
    };
    let value = of(SET).or(setting.value.as_deref()).or(of(EXAMPLES));
    let sign = if of(SET).is_some() { "" } else { "#" };
    let _ = writeln!(text, "{sign}{} = {}", setting.key, value.unwrap_or("\"\""));
}

fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let full = lines.last().is_some_and(|line| !line.is_empty() && line.len() + 1 + word.len() > WIDTH);
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::over_text;
    use std::{fs, path::Path};

    /// `NTC_BLESS=1` writes the file anew.
    #[test]
    fn the_packaged_file_is_that_of_the_options() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/ntc.toml");
        let made = template().expect("no variable is set");
        if std::env::var_os("NTC_BLESS").is_some() {
            fs::write(&path, &made).expect("it can be written");
        }
        let kept = fs::read_to_string(&path).expect("it is there");
        assert!(kept == made, "packaging/ntc.toml is of another version: NTC_BLESS=1 writes it anew");
    }

    #[test]
    fn every_line_that_is_left_out_can_be_taken() {
        let made = template().expect("no variable is set");
        let taken = made.lines().map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') && rest.contains(" = ") => rest,
            _ => line,
        });
        let text = taken.collect::<Vec<_>>().join("\n");
        let mistakes = over_text(Cli::command(), &text).err().unwrap_or_default();
        assert!(mistakes.is_empty(), "{mistakes:?}");
    }
}
