//! The OpenAPI document and the interface say the same, by Schemathesis.

use anyhow::ensure;
use ntc_tests::{
    link::{Link, of_port, text},
    root, skip,
};

/// Made anew for each test: nobody else has it.
const WRITER: &str = "contract-contract-contract";

#[test]
fn schemathesis_finds_nothing() -> anyhow::Result<()> {
    let program = root().join(".tools/asking/bin/schemathesis");
    if !program.exists() {
        return Ok(skip(
            "schemathesis_finds_nothing",
            "no Schemathesis: `cargo xtask setup test` installs it",
        )?);
    }
    let (link, folder) = (Link::new("api-contract")?, tempfile::tempdir()?);
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, format!("write {WRITER}\n"))?;
    std::fs::set_permissions(&tokens, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    let tokens = tokens.display().to_string();
    let options = ["--api-listen", "127.0.0.1:8080", "--api-rate", "100000", "--api-tokens", &tokens];
    let mut agent = link.agent(&options)?;
    link.first_packets(45_001, 5)?;
    agent.until(of_port(45_001))?;
    let asked = link
        .agent_side
        .prepare(program)
        .arg("--config-file")
        .arg(root().join("tests/schemathesis.toml"))
        .args([
            "run",
            "http://127.0.0.1:8080/openapi.json",
            "--seed",
            "1",
            "--max-examples",
            "40",
            "--no-color",
        ])
        // A stream does not end; its own tests follow it.
        .args(["--exclude-path", "/v1/events", "--request-timeout", "20"])
        .args(["--header", &format!("Authorization: Bearer {WRITER}")])
        .current_dir(folder.path())
        .output()?;
    ensure!(asked.status.success(), "{}", text(&asked));
    let events = agent.stop()?;
    ensure!(
        events.last().is_some_and(|event| event["event"] == "summary"),
        "it goes on as if nothing had been"
    );
    Ok(())
}
