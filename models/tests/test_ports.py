import numpy as np

from ntc_models.ports import PortEvidence, PortTable, input_scale, table_csv, tables


def test_the_server_is_the_end_that_more_repositories_use(flows):
    evidence = PortEvidence(flows)
    assert evidence.server_is_dst(flows).all()
    assert set(evidence.server_port(flows)) == {53, 80, 443}


def test_the_server_is_found_when_the_capture_began_with_a_reply(flows):
    evidence = PortEvidence(flows)
    late = flows[np.arange(8)]
    late.packets[:, :, [0, 1]] = late.packets[:, :, [1, 0]]
    assert not evidence.server_is_dst(late).any()


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
