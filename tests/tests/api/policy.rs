//! `/v1/policy`, and what the kernel does by it.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use ntc_tests::link::{Call, Link, of_call};
use serde_json::{Value, json};

use crate::http::{Answer, Asker};

fn put(ask: &Asker, policy: &Value, tag: &str) -> anyhow::Result<Answer> {
    let (body, tag) = (policy.to_string(), format!("If-Match: {tag}"));
    let options =
        ["--request", "PUT", "--header", "Content-Type: application/json", "--header", &tag, "--data", &body];
    ask.ask("/v1/policy", &options)
}

#[test]
fn another_policy_acts_on_the_next_packet() -> anyhow::Result<()> {
    let link = Link::new("api-policy")?;
    link.addresses()?;
    let mut agent = link.agent(&[])?;
    let ask = Asker::unix(&link);
    let before = ask.ask("/v1/policy", &[])?;
    let tag = before.header("etag").context("no ETag")?.to_owned();
    let policy = before.json()?;
    ensure!(policy["class"]["realtime"]["dscp"] == "EF", "{policy}");

    let call = Call::begin(&link)?;
    agent.until(|event| of_call(event) && event["stage"] == "final")?;
    // RTP, whatever the model thinks of it; no later answer undoes that.
    link.promote()?;
    link.counts_on(|counts| counts.remarked, Duration::from_secs(5))?;

    let alone = put(&ask, &json!({"class": {}}), &tag)?;
    ensure!(alone.status == 200, "{alone:?}");
    call.goes_on(20)?;
    let settled = link.enforcement()?;
    call.goes_on(20)?;
    let later = link.enforcement()?;
    ensure!(
        later.labelled == settled.labelled && later.remarked == settled.remarked,
        "{settled:?} {later:?}"
    );
    ensure!(later.unlabelled > settled.unlabelled, "{settled:?} {later:?}");

    ensure!(put(&ask, &policy, &tag)?.problem(412)?.contains("another policy"));
    let tag = alone.header("etag").context("no ETag")?;
    ensure!(put(&ask, &policy, tag)?.header("etag") == before.header("etag"));
    link.promote()?;
    link.counts_on(|counts| counts.remarked, Duration::from_secs(5))?;
    call.end()?;
    agent.stop()?;
    Ok(())
}

#[test]
fn a_policy_with_a_mistake_changes_nothing() -> anyhow::Result<()> {
    let link = Link::new("api-mistake")?;
    let agent = link.agent(&[])?;
    let ask = Asker::unix(&link);
    let before = ask.ask("/v1/policy", &[])?;
    let mut policy = before.json()?;
    policy["class"]["web"]["dscp"] = "AF99".into();
    ensure!(put(&ask, &policy, "*")?.problem(422)?.contains("class.web.dscp"));
    ensure!(put(&ask, &json!({"class": {"Fast": {}}}), "*")?.problem(422)?.contains("class.Fast"));
    let no_tag = ["--request", "PUT", "--header", "Content-Type: application/json", "--data", "{}"];
    ask.ask("/v1/policy", &no_tag)?.problem(428)?;
    let after = ask.ask("/v1/policy", &[])?;
    ensure!(after.header("etag") == before.header("etag") && after.body == before.body);
    agent.stop()?;
    Ok(())
}
