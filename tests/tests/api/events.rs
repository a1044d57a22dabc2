//! `/v1/events`.

use anyhow::ensure;
use ntc_tests::{
    http::Asker,
    link::{Link, of_port},
};

use crate::flow_of;

#[test]
fn a_follower_sees_a_snapshot_then_each_change_and_goes_on_where_it_stopped() -> anyhow::Result<()> {
    let link = Link::new("api-events")?;
    let mut agent = link.agent(&[])?;
    let ask = Asker::unix(&link);
    link.first_packets(44_001, 5)?;
    agent.until(of_port(44_001))?;
    ask.until(&flow_of(44_001), |page| page["flows"].get(0).map(|_| ()))?;

    let stream = ask.follow("/v1/events", &[])?;
    let snapshot = stream.until(|event| event.name != "new")?;
    ensure!(snapshot.name == "snapshot" && snapshot.data["src_port"] == 44_001, "{snapshot:?}");
    let live = stream.until(|_| true)?;
    ensure!(live.name == "live" && !live.id.is_empty(), "{live:?}");

    link.first_packets(44_002, 5)?;
    let new = stream.until(|event| event.data["src_port"] == 44_002)?;
    ensure!(new.name == "new" && new.data["label_packets"].as_u64() > Some(0), "{new:?}");
    drop(stream);
    // The rest of it: the flow closes, and its label rests on all eight packets.
    link.exchange(44_002)?;
    agent.until(|event| of_port(44_002)(event) && event["stage"] == "final")?;
    link.first_packets(44_003, 5)?;
    agent.until(of_port(44_003))?;

    let resumed = ask.follow("/v1/events", &["--header", &format!("Last-Event-ID: {}", new.id)])?;
    let mut missed = Vec::new();
    resumed
        .until(|event| event.name == "new" && event.data["src_port"] == 44_003 || event.name == "snapshot")
        .map(|event| missed.push(event))?;
    ensure!(missed[0].name == "new", "no snapshot for who missed nothing: {missed:?}");
    let elsewhere = ask.follow("/v1/events?last_event_id=0-1&port=44003", &[])?;
    let first = elsewhere.until(|_| true)?;
    ensure!(
        first.name == "snapshot" && first.data["src_port"] == 44_003,
        "another agent's number: {first:?}"
    );

    let one = ask.follow("/v1/events?class=unknown,web,management&port=44009", &[])?;
    one.until(|event| event.name == "live")?;
    link.first_packets(44_008, 5)?;
    link.exchange(44_009)?;
    let ended = one.until(|event| event.name == "ended")?;
    ensure!(ended.data["src_port"] == 44_009, "only what was asked for: {ended:?}");
    agent.stop()?;
    Ok(())
}

#[test]
fn a_controller_gets_matches_and_hears_that_a_flow_is_no_longer_what_it_asked_for() -> anyhow::Result<()> {
    let link = Link::new("api-leave")?;
    let mut agent = link.agent(&[])?;
    let ask = Asker::unix(&link);
    link.first_packets(45_001, 5)?;
    agent.until(of_port(45_001))?;
    ask.until(&flow_of(45_001), |page| page["flows"].get(0).map(|_| ()))?;

    let stream = ask.follow("/v1/events?stage=provisional&match=openflow13", &[])?;
    let snapshot = stream.until(|_| true)?;
    ensure!(snapshot.name == "snapshot", "{snapshot:?}");
    let matches = &snapshot.data["match"];
    ensure!(matches[0]["tcp_src"] == 45_001 && matches[1]["tcp_dst"] == 45_001, "{snapshot:?}");
    // It closes: its label is final.
    link.exchange(45_001)?;
    let leaves = stream.until(|event| event.data["stage"] == "final")?;
    ensure!(leaves.name == "changed" && leaves.data["match"] == *matches, "{leaves:?}");
    // Nothing more is told of it, not even its end.
    ask.follow("/v1/events?port=45001", &[])?.until(|event| event.name == "ended")?;
    link.first_packets(45_002, 5)?;
    let next = stream.until(|event| event.name != "live")?;
    ensure!(next.data["src_port"] == 45_002, "{next:?}");
    agent.stop()?;
    Ok(())
}

#[test]
fn a_subscriber_too_many_is_told_so() -> anyhow::Result<()> {
    let link = Link::new("api-subscribers")?;
    let agent = link.agent(&[])?;
    let ask = Asker::unix(&link);
    let streams = (0..64).map(|_| ask.follow("/v1/events", &[])).collect::<anyhow::Result<Vec<_>>>()?;
    for stream in &streams {
        stream.until(|event| event.name == "live")?;
    }
    let refused = ask.ask("/v1/events", &[])?;
    ensure!(refused.problem(503)?.contains("subscribers"), "{refused:?}");
    ensure!(ask.get("/v1/stats")?["api"]["subscribers"] == 64);
    drop(streams);
    ask.until("/v1/stats", |stats| (stats["api"]["subscribers"] == 0).then_some(()))?;
    agent.stop()?;
    Ok(())
}
