//! `/v1/policy`, and what the kernel does by it.

use std::{thread, time::Duration};

use anyhow::{Context as _, ensure};
use ntc_tests::{
    http::{Answer, Asker},
    link::{Call, Link, of_call},
};
use ntc_user::kernel::policy;
use serde_json::{Value, json};

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

#[test]
fn of_all_who_change_the_policy_at_one_time_none_overwrites_another_unseen() -> anyhow::Result<()> {
    const ROUNDS: usize = 40;
    let link = Link::new("api-race")?;
    let agent = link.agent(&[])?;
    let pins = &link.pins.0;
    let dscp = |code: usize| json!({"class": {"web": {"dscp": code}}});
    let (mut taken, mut late) = (0, 0);
    for round in 0..ROUNDS {
        let seen = Asker::unix(&link).ask("/v1/policy", &[])?;
        let tag = seen.header("etag").context("no ETag")?.to_owned();
        // What `ntc policy apply` does: it replaces whatever counts. Two others replace what they have seen.
        let applied = format!("[class.mail]\ndscp = {}\n", round % 60 + 1);
        let (puts, apply) = thread::scope(|scope| {
            let puts = [10, 12].map(|code| {
                let (link, tag, policy) = (&link, &tag, dscp(code));
                scope.spawn(move || put(&Asker::unix(link), &policy, tag))
            });
            let apply = scope.spawn(|| {
                // Before, between and after the others, whose way here takes some milliseconds.
                thread::sleep(Duration::from_millis(round as u64));
                policy::apply(pins, "applied", &applied, None)
            });
            (puts.map(thread::ScopedJoinHandle::join), apply.join())
        });
        ensure!(apply.is_ok_and(|applied| applied.is_ok()), "round {round}");
        let mut in_force = 0;
        for answer in puts {
            let answer = answer.map_err(|_| anyhow::anyhow!("it died"))??;
            match answer.status {
                200 => {
                    in_force += 1;
                    let told = &answer.json()?["class"]["web"]["dscp"];
                    ensure!(told == 10 || told == 12, "an answer of somebody else's policy: {told}");
                }
                412 => late += 1,
                _ => anyhow::bail!("{answer:?}"),
            }
        }
        ensure!(in_force <= 1, "round {round}: both replaced the same policy");
        taken += in_force;
        // It came first, and both were told; or last.
        ensure!(policy::active(pins)?.text == applied, "round {round}: overwritten unseen");
    }
    ensure!(late >= ROUNDS && taken > 0, "{taken} in force, {late} late: nobody met anybody");
    agent.stop()?;
    Ok(())
}
