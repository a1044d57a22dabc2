import numpy as np

from ntc_models.data import DIRECTION, PAYLOAD
from ntc_models.ports import CalledPorts, PortEvidence, PortTable, input_scale, table_csv, tables


def test_the_server_is_the_end_that_more_repositories_use(flows):
    evidence = PortEvidence(flows)
    assert evidence.server_is_dst(flows).all()
    assert set(evidence.server_port(flows)) == {53, 80, 443}


def test_the_server_is_found_when_the_capture_began_with_a_reply(flows):
    evidence = PortEvidence(flows)
    late = flows[np.arange(8)]
    late.packets[:, :, [0, 1]] = late.packets[:, :, [1, 0]]
    assert not evidence.server_is_dst(late).any()


def test_a_port_that_was_never_called_has_no_vote(flows):
    assert (np.flatnonzero(CalledPorts(flows).votes[6] >= 1) == [80, 443]).all()
    assert (PortEvidence(flows).votes[6] >= 1).sum() > 20


def calls(flows, src, dst):
    """Handshakes of TCP, from port `src` to `dst`, and a request."""
    tcp = flows[np.flatnonzero((flows.proto == 6) & (flows.length >= 4))[:8]]
    tcp.packets[:, 3, DIRECTION] = 0
    back = tcp.packets[:, :, DIRECTION] == 1
    there = tcp.packets.any(2)
    tcp.packets[:, :, 0] = np.where(back, dst, src) * there
    tcp.packets[:, :, 1] = np.where(back, src, dst) * there
    tcp.packets[:, :3, PAYLOAD] = 0
    return tcp


def without_first(flows):
    """As a capture has them that began with the second packet."""
    later = flows[np.arange(len(flows))]
    later.packets[:, :-1], later.packets[:, -1] = flows.packets[:, 1:], 0
    there = later.packets.any(2)
    later.packets[:, :, DIRECTION] = np.where(there, 1 - later.packets[:, :, DIRECTION], 0)
    return later


def test_a_handshake_tells_who_was_called_whatever_is_known_of_the_ports(flows):
    voters = CalledPorts(flows)
    voters.votes[6][50_000] = 3  # somebody served there once
    assert set(voters.server_port(calls(flows, 50_000, 60_123))) == {60_123}
    assert set(PortEvidence.server_port(voters, calls(flows, 60_123, 50_000))) == {50_000}
    # Whatever came first: from 443 nobody calls, and what goes on back again had begun before.
    assert set(voters.server_port(calls(flows, 443, 60_123))) == {443}
    assert set(voters.server_port(without_first(calls(flows, 60_123, 50_000)))) == {50_000}
    silent = calls(flows, 60_000, 50_123)
    silent.packets[:, 1:] = 0
    assert set(voters.server_port(silent)) == {50_123}  # the smaller of two that nobody knows


def test_the_table_says_what_most_repositories_say(flows):
    table = PortTable(flows, flows.protocol, PortEvidence(flows))
    assert (table(flows) == flows.protocol).all()
    strange = flows[np.arange(4)]
    strange.packets[:, :, :2] = 9
    assert list(table(strange)) == [None] * 4


def test_one_large_repository_does_not_outvote_two(flows):
    tls = flows[np.flatnonzero(flows.protocol == "TLS")[:40]]
    tls.repo[:] = "large/one"
    tls.repo[:6] = "small/one"
    tls.repo[6:12] = "small/two"
    labels = np.array(["small"] * 12 + ["large"] * 28, dtype=object)
    assert set(PortTable(tls, labels, PortEvidence(tls))(tls)) == {"small"}


def test_the_input_scale_is_monotone_and_sets_served_ports_apart(flows):
    scale = input_scale(flows, PortEvidence(flows))
    assert scale.shape == (65536,) and (np.diff(scale) >= 0).all()
    assert 0 <= scale[0] and scale[-1] <= 1
    assert scale[443] - scale[442] > 100 * (scale[5001] - scale[5000])


def test_the_committed_table_tells_both_ends(flows):
    text = table_csv(tables(flows))
    rows = [line.split(",") for line in text.splitlines()]
    assert rows[0] == ["proto", "port", "repositories", "service", "protocol", "class"]
    assert ["17", "53", "12", "DNS", "DNS", "management"] in rows
    assert ["6", "80", "12", "HTTP", "HTTP", "web"] in rows
    clients = [row for row in rows[1:] if int(row[1]) >= 32768]
    assert clients and all(row[3:] == ["", "", ""] for row in clients)
