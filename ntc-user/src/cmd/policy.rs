//! `ntc policy`: check a policy, show what it does and why, apply it to a running agent.

use std::{
    fs,
    io::{Write as _, stdout},
    net::SocketAddr,
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use ntc_common::key::{Address, FlowKey, IPPROTO_TCP, IPPROTO_UDP};

use crate::{
    catalogue::Catalogue,
    cli::{PolicyAction, PolicyApplyArgs, PolicyCheckArgs, PolicyShowArgs},
    kernel::{policy as kernel, tables},
    policy::{BUILT_IN_NAME, Explanation, Mistake, Policy, PolicyError, Question, schema},
};

/// Runs the verb.
///
/// # Errors
/// What the action could not do.
pub fn run(action: &PolicyAction) -> anyhow::Result<ExitCode> {
    match action {
        PolicyAction::Check(args) => check(args),
        PolicyAction::Show(args) => show(args),
        PolicyAction::Apply(args) => apply(args),
        PolicyAction::Schema => {
            writeln!(stdout().lock(), "{}", serde_json::to_string_pretty(&schema())?)?;
            Ok(ExitCode::SUCCESS)
        }
        PolicyAction::Nft(args) => {
            let (policy, _) = chosen(args.policy.as_deref(), args.mark_mask, &args.pins.pin_dir)?;
            write!(stdout().lock(), "{}", policy.nft())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The policy of a file, else the one that counts, else the built-in one; and whose it is.
pub(super) fn chosen(file: Option<&Path>, mark_mask: u32, pins: &Path) -> anyhow::Result<(Policy, String)> {
    Ok(match file {
        Some(path) => (Policy::load(Some(path), mark_mask)?, path.display().to_string()),
        None if is_live(pins) => (kernel::active(pins)?, "that counts now".into()),
        None => (Policy::load(None, mark_mask)?, BUILT_IN_NAME.into()),
    })
}

fn is_live(pins: &Path) -> bool {
    pins.join("POLICY").exists()
}

fn check(args: &PolicyCheckArgs) -> anyhow::Result<ExitCode> {
    let name = args.file.display().to_string();
    let (mistakes, warnings, digest) = match Policy::load(Some(&args.file), args.mark_mask) {
        Ok(policy) => (Vec::new(), policy.warnings.clone(), Some(policy.digest())),
        Err(PolicyError::Mistakes { mistakes, .. }) => (mistakes, Vec::new(), None),
        Err(error) => return Err(error.into()),
    };
    let mut out = stdout().lock();
    if args.json {
        let report = serde_json::json!({
            "file": name, "usable": mistakes.is_empty(), "mistakes": mistakes, "warnings": warnings, "digest": digest,
        });
        writeln!(out, "{report}")?;
    } else {
        let mut tell = |kind: &str, list: &[Mistake]| -> std::io::Result<()> {
            list.iter().try_for_each(|mistake| {
                writeln!(
                    out,
                    "{name}:{}:{}: {kind}: {}{}{}",
                    mistake.line,
                    mistake.column,
                    mistake.field,
                    if mistake.field.is_empty() { "" } else { ": " },
                    mistake.what
                )
            })
        };
        tell("error", &mistakes)?;
        tell("warning", &warnings)?;
        if mistakes.is_empty() {
            writeln!(out, "{name}: usable")?;
        }
    }
    Ok(if mistakes.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn apply(args: &PolicyApplyArgs) -> anyhow::Result<ExitCode> {
    let name = args.file.display().to_string();
    let text = fs::read_to_string(&args.file).with_context(|| format!("policy {name}"))?;
    let policy = kernel::apply(&args.pins.pin_dir, &name, &text, None)?;
    for warning in &policy.warnings {
        eprintln!("ntc: {name}:{warning}");
    }
    writeln!(stdout().lock(), "{name}: applied, digest {}", policy.digest())?;
    Ok(ExitCode::SUCCESS)
}

fn show(args: &PolicyShowArgs) -> anyhow::Result<ExitCode> {
    let live = is_live(&args.pins.pin_dir);
    let (policy, whose) = chosen(args.policy.as_deref(), args.mark_mask, &args.pins.pin_dir)?;
    let words: Vec<&str> = args.what.iter().flat_map(|word| word.split_whitespace()).collect();
    let mut out = stdout().lock();
    let explanation = match &words[..] {
        [] => {
            write!(out, "{}", policy.text)?;
            return Ok(ExitCode::SUCCESS);
        }
        [service] => {
            let Some(service) = Catalogue::shipped().by_name(service) else {
                bail!("no service {service:?}; a flow is given as `udp 192.0.2.1:4000 198.51.100.1:5060`");
            };
            policy.explain(Question::Service { id: service.id, confidence: args.confidence })
        }
        [protocol, source, destination] => {
            let key = flow(protocol, source, destination)?;
            let label = if live { label(&args.pins.pin_dir, &key)? } else { None };
            policy.explain(Question::Flow { key: &key, label: label.as_ref() })
        }
        _ => bail!("give a service, or a flow as `udp 192.0.2.1:4000 198.51.100.1:5060`"),
    };
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&explanation)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    writeln!(out, "policy    {whose}")?;
    let Explanation { class, priority, dscp, existing_dscp, mark, drop, because } = explanation;
    writeln!(out, "class     {}", class.as_deref().unwrap_or("none: packets are left alone"))?;
    if drop {
        writeln!(out, "drop      yes")?;
    }
    for (name, value) in [("priority", priority.as_deref()), ("mark", mark.as_deref())] {
        if let Some(value) = value {
            writeln!(out, "{name:<9} {value}")?;
        }
    }
    if let (Some(dscp), Some(existing)) = (dscp, existing_dscp) {
        writeln!(out, "dscp      {dscp} ({existing})")?;
    }
    for why in because {
        writeln!(out, "  - {why}")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn label(pins: &Path, key: &FlowKey) -> anyhow::Result<Option<ntc_common::label::Label>> {
    Ok(tables::labels(pins)?.get(key, 0).ok())
}

fn flow(protocol: &str, source: &str, destination: &str) -> anyhow::Result<FlowKey> {
    let protocol = match protocol.to_ascii_lowercase().as_str() {
        "tcp" => IPPROTO_TCP,
        "udp" => IPPROTO_UDP,
        _ => bail!("{protocol:?} is neither tcp nor udp"),
    };
    let end = |text: &str| -> anyhow::Result<SocketAddr> {
        text.parse().with_context(|| format!("{text:?} is no address:port, nor [address]:port of IPv6"))
    };
    let (source, destination) = (end(source)?, end(destination)?);
    let address = |end: SocketAddr| match end {
        SocketAddr::V4(v4) => Address::mapped(v4.ip().octets()),
        SocketAddr::V6(v6) => Address::from_bytes(v6.ip().octets()),
    };
    if source.is_ipv4() != destination.is_ipv4() {
        bail!("{source} and {destination} are of different versions of IP");
    }
    let mut key = FlowKey::ZERO;
    key.set(
        (address(source), source.port().to_be_bytes()),
        (address(destination), destination.port().to_be_bytes()),
        protocol,
        if source.is_ipv4() { 4 } else { 6 },
    );
    Ok(key)
}
