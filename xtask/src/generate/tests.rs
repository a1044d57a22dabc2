//! The descriptions: in the catalogue's names, and apart from the live run.

use std::{collections::BTreeSet, fs, io::Write as _};

use anyhow::{Context as _, Result, ensure};

use super::{Args, DESCRIPTIONS, service, service::Service};
use crate::{run::services::ALL, setup, workspace};

fn services() -> Vec<Service> {
    service::read(&workspace::root().join(DESCRIPTIONS)).unwrap()
}

#[test]
fn labels_are_protocols_of_the_catalogue_in_a_category_of_their_class() {
    let read = |file| fs::read_to_string(workspace::root().join("models").join(file)).unwrap();
    let (catalogue, rules) = (read("services.csv"), read("classes.csv"));
    let class_of = |label: &str, category: &str| {
        let mut rows = rules.lines().skip(1).map(|row| row.split(',').collect::<Vec<_>>());
        rows.find(|row| (row[0] == label || row[0] == "*") && (row[1] == category || row[1] == "*"))
            .map(|row| row[2].to_owned())
    };
    for service in services() {
        let block = service.block.map(|block| (block.label, block.category));
        for (label, category) in [(service.label, service.category)].into_iter().chain(block) {
            let row =
                catalogue.lines().map(|row| row.split(',').collect::<Vec<_>>()).find(|row| row[1] == label);
            let row = row.unwrap_or_else(|| panic!("{label} is not in the catalogue"));
            assert_eq!(Some(row[3].to_owned()), class_of(&label, &category), "{label} of {category}");
        }
    }
}

/// The live run is the test of what was learned from generated traffic: it must not be in it.
#[test]
fn nothing_of_the_live_run_is_generated() {
    let of_run: BTreeSet<&str> = ALL.iter().flat_map(|service| service.implementations).copied().collect();
    for service in services() {
        for pair in &service.pair {
            for implementation in &pair.implementations {
                assert!(!of_run.contains(implementation.as_str()), "{}: {implementation}", pair.name);
            }
            let lines = pair.server.iter().chain(&pair.client);
            for word in
                lines.flat_map(|line| line.split(|c: char| c.is_whitespace() || "|;&/{}:".contains(c)))
            {
                // `mosquitto` is a program, `redis-server` no `server`: whole words of shell lines.
                let word = word.trim_matches(|c| c == '\'' || c == '"');
                assert!(!of_run.contains(word), "{}: {word}", pair.name);
            }
        }
    }
}

/// Packages that bring programs of the live run; libraries and interpreters that both need are none.
#[test]
fn no_package_of_the_live_run_is_unpacked() {
    let of_run: BTreeSet<&str> = ALL.iter().flat_map(|service| service.packages).copied().collect();
    for package in service::packages(&services()) {
        assert!(package == "python3" || !of_run.contains(package), "{package}");
    }
}

#[test]
fn services_are_chosen_by_label_or_by_name() {
    let all = services();
    let first = all[0].pair[0].name.clone();
    let by_name = service::choose(all.clone(), std::slice::from_ref(&first)).unwrap();
    assert_eq!(by_name.iter().map(|service| service.pair.len()).sum::<usize>(), 1);
    let by_label = service::choose(all.clone(), &[all[0].label.to_lowercase()]).unwrap();
    assert_eq!(by_label[0].pair.len(), all[0].pair.len());
    assert!(service::choose(all, &["nothing".to_owned()]).is_err());
}

/// A pair below another service's heading would teach the wrong name.
#[test]
fn what_was_generated_has_the_labels_of_the_descriptions() {
    let labels = fs::read_to_string(workspace::root().join("models/generated/labels.csv")).unwrap();
    let services = services();
    let mut seen = BTreeSet::new();
    for row in labels.lines().skip(1).map(|row| row.split(',').collect::<Vec<_>>()) {
        let name = row[14].rsplit_once('/').unwrap().1;
        let service = services.iter().find(|service| service.pair.iter().any(|pair| pair.name == name));
        let service = service.unwrap_or_else(|| panic!("{name} is not described"));
        let block = service.block.as_ref().map(|block| &block.label);
        assert!(row[8] == service.label || block.is_some_and(|label| row[8] == *label), "{name}: {}", row[8]);
        seen.insert(name);
    }
    assert!(seen.len() > 100);
}

/// Real servers, clients and network; three services that need no Debian package.
#[test]
fn flows_are_generated_and_labelled_from_end_to_end() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return skip("flows_are_generated_and_labelled_from_end_to_end", "network namespaces need root");
    }
    if ![setup::GENERATING, setup::LABELLING].iter().all(|environment| environment.python().is_file()) {
        let reason = "needs `cargo xtask setup generate`";
        return skip("flows_are_generated_and_labelled_from_end_to_end", reason);
    }
    workspace::run(workspace::cargo().args([
        "build",
        "--quiet",
        "--release",
        "--package",
        "ntc-user",
        "--bin",
        "ntc",
    ]))?;
    let this = std::env::current_exe()?;
    let ntc = this.ancestors().nth(3).context("no target folder")?.join("release/ntc");
    let folder = tempfile::tempdir()?;
    let names = ["dnslib-dnspython", "pymodbustcp", "hl7-mllp"];
    let args = Args {
        out: Some(folder.path().join("made")),
        rounds: 2,
        duration: 6,
        seed: 11,
        hand: 3,
        services: names.map(str::to_owned).to_vec(),
        list: false,
        keep_logs: false,
        ntc: Some(ntc),
    };
    super::main(&args)?;

    let labels = fs::read_to_string(folder.path().join("made/labels.csv"))?;
    let rows: Vec<Vec<&str>> = labels.lines().skip(1).map(|row| row.split(',').collect()).collect();
    let standard = [("DNS", "53"), ("Modbus", "502"), ("HL7", "2575")];
    for (label, port) in standard {
        ensure!(rows.iter().any(|row| row[8] == label), "no {label} in {labels}");
        for row in rows.iter().filter(|row| row[8] == label) {
            ensure!((row[4] == port) == row[0].starts_with("standard"), "{label}: {row:?}");
        }
    }
    // A server that a busy machine is slow to start is missing in one round, not in both.
    for kind in ["standard", "random"] {
        ensure!(rows.iter().any(|row| row[0].starts_with(kind)), "nothing on {kind} ports in {labels}");
    }
    Ok(())
}

/// As the tests of the crate `tests/` do: counted as skipped, with the reason.
fn skip(name: &str, reason: &str) -> Result<()> {
    if let Some(file) = std::env::var_os("NTC_SKIPPED_TESTS") {
        // In one piece: other tests write there at the same time.
        let line = format!("generate::tests::{name}: {reason}\n");
        fs::File::options().append(true).create(true).open(file)?.write_all(line.as_bytes())?;
    }
    Ok(())
}
