//! Scenarios: packets at times, and what each does.

use ntc_common::{
    flow::{End, FlowRule},
    key::{IPPROTO_TCP, IPPROTO_UDP},
    packet::Packet,
};

use crate::events::{ACK, FIN, RST, SYN, Slot, from_upper, packet, tcp};

const S: u64 = 1_000_000_000;
const DEFAULT: FlowRule = FlowRule::DEFAULT;
const CORPUS: FlowRule = FlowRule::CORPUS;

/// What a packet does to its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// Begins the first flow.
    Begins,
    /// Ends the flow so, and begins another.
    Ends(End),
    /// Belongs to the flow.
    Goes,
    /// Belongs to the flow and closes it.
    Closes(End),
    /// Ends the flow so, and closes the one that it begins.
    EndsAndCloses(End, End),
    /// Begins the first flow and closes it.
    BeginsAndCloses(End),
}

use Does::{Begins, BeginsAndCloses, Closes, Ends, EndsAndCloses, Goes};

/// Packets at ns of packet time.
fn plays(rule: &FlowRule, script: &[(u64, Packet, Does)]) {
    let mut slot = Slot::default();
    for (i, (now_ns, packet, expected)) in script.iter().enumerate() {
        let outcome = slot.take(packet, *now_ns, rule);
        let does = match (outcome.ended, outcome.began, outcome.step.closes) {
            (None, true, None) => Begins,
            (None, true, Some(how)) => BeginsAndCloses(how),
            (Some(end), _, None) => Ends(end),
            (Some(end), _, Some(how)) => EndsAndCloses(end, how),
            (None, false, None) => Goes,
            (None, false, Some(how)) => Closes(how),
        };
        assert_eq!(does, *expected, "packet {i} of {script:?}");
    }
}

const fn udp() -> Packet {
    packet(IPPROTO_UDP, 0)
}

const fn up(tcp_flags: u8) -> Packet {
    from_upper(tcp(tcp_flags))
}

#[test]
fn idle_time_outs_of_each_protocol() {
    for (rule, protocol, idle) in [
        (DEFAULT, IPPROTO_TCP, 300 * S),
        (DEFAULT, IPPROTO_UDP, 120 * S),
        (CORPUS, IPPROTO_TCP, 120 * S),
        (CORPUS, IPPROTO_UDP, 120 * S),
    ] {
        let packet = packet(protocol, 0);
        assert_eq!(rule.idle_ns(protocol), idle);
        plays(
            &rule,
            &[
                (5 * S, packet, Begins),
                (5 * S + idle, packet, Goes),
                // From the latest packet, whoever sent it.
                (5 * S + 2 * idle, from_upper(packet), Goes),
                (5 * S + 3 * idle + 1, packet, Ends(End::Idle)),
                (5 * S + 3 * idle + 2, packet, Goes),
            ],
        );
    }
}

#[test]
fn a_syn_on_an_open_flow_continues_it() {
    plays(&DEFAULT, &[(S, tcp(SYN), Begins), (2 * S, tcp(SYN), Goes), (3 * S, up(SYN), Goes)]);
    plays(&DEFAULT, &[(S, tcp(ACK), Begins), (2 * S, tcp(SYN), Goes)]);
}

#[test]
fn fin_from_both_sides_closes() {
    plays(
        &DEFAULT,
        &[
            (S, tcp(SYN), Begins),
            (S, up(SYN | ACK), Goes),
            (2 * S, tcp(FIN | ACK), Goes),
            // A half-closed flow is open: no linger, and the other side may go on sending.
            (2 * S, tcp(FIN | ACK), Goes),
            (100 * S, up(ACK), Goes),
            (101 * S, tcp(SYN), Goes),
            (102 * S, up(FIN | ACK), Closes(End::Fin)),
            (102 * S, tcp(ACK), Goes),
        ],
    );
    // The destination may be first.
    plays(&DEFAULT, &[(S, tcp(SYN), Begins), (S, up(FIN), Goes), (S, tcp(FIN), Closes(End::Fin))]);
}

#[test]
fn rst_closes() {
    plays(&DEFAULT, &[(S, tcp(SYN), Begins), (S, up(RST | ACK), Closes(End::Rst))]);
    plays(&DEFAULT, &[(S, tcp(SYN), Begins), (S, tcp(RST), Closes(End::Rst))]);
    plays(&DEFAULT, &[(S, tcp(RST), BeginsAndCloses(End::Rst)), (2 * S, tcp(SYN), Ends(End::Rst))]);
    plays(&DEFAULT, &[(S, tcp(FIN), Begins), (S, up(RST), Closes(End::Rst)), (S, up(FIN), Goes)]);
    // RST and FIN at once is RST.
    plays(&DEFAULT, &[(S, tcp(FIN), Begins), (S, up(FIN | RST), Closes(End::Rst))]);
}

#[test]
fn what_comes_after_a_close() {
    let closed = [(S, tcp(FIN), Begins), (2 * S, up(FIN), Closes(End::Fin))];
    let play = |rest: &[(u64, Packet, Does)]| plays(&DEFAULT, &[&closed, rest].concat());
    // Stragglers belong to the closed flow; they close nothing again and do not prolong the linger.
    play(&[
        (3 * S, tcp(ACK), Goes),
        (4 * S, up(FIN | ACK), Goes),
        (5 * S, tcp(RST), Goes),
        (12 * S, up(ACK), Goes),
        (12 * S + 1, up(ACK), Ends(End::Fin)),
    ]);
    // SYN opens a new connection at once; SYN with ACK is an answer and does not.
    play(&[(2 * S, tcp(SYN), Ends(End::Fin)), (2 * S, up(SYN | ACK), Goes)]);
    play(&[(3 * S, up(SYN), Ends(End::Fin))]);
    play(&[(3 * S, up(SYN | ACK), Goes)]);
    play(&[(500 * S, tcp(RST), EndsAndCloses(End::Fin, End::Rst)), (501 * S, tcp(SYN), Ends(End::Rst))]);
}

#[test]
fn the_linger_of_a_flow_closed_by_rst() {
    plays(
        &DEFAULT,
        &[
            (S, tcp(SYN), Begins),
            (S, up(RST), Closes(End::Rst)),
            (11 * S, up(RST), Goes),
            (11 * S + 1, tcp(ACK), Ends(End::Rst)),
        ],
    );
}

#[test]
fn idleness_may_be_shorter_than_linger() {
    let rule = FlowRule { tcp_idle_ns: S, ..DEFAULT };
    plays(
        &rule,
        &[(S, tcp(RST), BeginsAndCloses(End::Rst)), (2 * S, up(ACK), Goes), (4 * S, up(ACK), Ends(End::Rst))],
    );
}

#[test]
fn the_corpus_rule_knows_no_close() {
    plays(
        &CORPUS,
        &[
            (S, tcp(SYN), Begins),
            (S, tcp(FIN), Goes),
            (S, up(FIN), Goes),
            (2 * S, tcp(SYN), Goes),
            (3 * S, up(RST), Goes),
            (4 * S, tcp(SYN), Goes),
            (124 * S, tcp(SYN), Goes),
            (244 * S + 1, tcp(ACK), Ends(End::Idle)),
        ],
    );
}

#[test]
fn time_that_runs_backwards_ends_nothing() {
    for rule in [DEFAULT, CORPUS] {
        plays(
            &rule,
            &[
                (1000 * S, udp(), Begins),
                (10 * S, udp(), Goes),
                // Idleness counts from the latest time, not from the latest packet.
                (1120 * S, udp(), Goes),
                (0, udp(), Goes),
                (1240 * S + 1, udp(), Ends(End::Idle)),
            ],
        );
    }
    plays(
        &DEFAULT,
        &[
            (1000 * S, tcp(SYN), Begins),
            (999 * S, up(RST), Closes(End::Rst)),
            (0, tcp(ACK), Goes),
            (1009 * S, tcp(ACK), Goes),
            (1009 * S + 1, tcp(ACK), Ends(End::Rst)),
        ],
    );
}

#[test]
fn a_capture_may_begin_at_time_zero() {
    plays(&DEFAULT, &[(0, tcp(SYN), Begins), (0, up(RST), Closes(End::Rst)), (0, tcp(SYN), Ends(End::Rst))]);
    plays(
        &DEFAULT,
        &[
            (0, tcp(FIN), Begins),
            (0, up(FIN), Closes(End::Fin)),
            (0, up(FIN), Goes),
            (11 * S, tcp(ACK), Ends(End::Fin)),
        ],
    );
}

#[test]
fn an_end_that_talks_to_itself_has_one_direction() {
    // Equal ends: every packet comes from the source, so only RST or idleness ends the flow.
    plays(
        &DEFAULT,
        &[
            (S, tcp(SYN), Begins),
            (S, tcp(FIN), Goes),
            (S, tcp(FIN), Goes),
            (2 * S, tcp(RST), Closes(End::Rst)),
        ],
    );
}
