from ntc_models import generated, label

ROUND = {
    "capture": "random-1-001.pcap", "random_ports": True,
    "line": {"ip_version": 4, "rtt_ms": 20.0, "mbit_s": 10.0, "loss": 0.01, "mtu": 1500, "near_server": False},
    "ports": [
        {"transport": "tcp", "first": 2100, "last": 2100, "step": 1, "label": "FTP_CONTROL", "category": "Download", "name": "ftpd"},
        {"transport": "tcp", "first": 3000, "last": 3063, "step": 2, "label": "FTP_DATA", "category": "Download", "name": "ftpd"},
        {"transport": "udp", "first": 2100, "last": 2100, "step": 1, "label": "DNS", "category": "Network", "name": "named"},
    ],
}


def flow(src, dst, proto, first_ns, payload=(10,)):
    (src_ip, src_port), (dst_ip, dst_port) = src, dst
    return {"capture": ROUND["capture"], "src_ip": src_ip, "dst_ip": dst_ip, "src_port": src_port, "dst_port": dst_port,
            "proto": proto, "ip_version": 4, "first_ts_ns": first_ns, "packets": 3, "payload_len": list(payload)}


CLIENT, SERVER = "192.0.2.2", "198.51.100.2"


def found(flows, said=None):
    truth = generated.Truth([SERVER, "2001:db8:2::2"], ROUND)
    return list(generated.rows(flows, truth, said or {}))


def test_a_flow_is_of_the_service_whose_port_it_goes_to_whatever_ndpi_says():
    key = (label.address(CLIENT), label.address(SERVER), 40_000, 2100, 6, 7)
    rows = found([flow((CLIENT, 40_000), (SERVER, 2100), 6, 7_000_000),
                  flow((CLIENT, 40_000), (SERVER, 2100), 17, 8_000_000)], {key: ("TLS.Google", "Web", 6)})
    assert [(row["label"], answer, row["confidence"]) for row, answer in rows] == [("FTP_CONTROL", "TLS.Google", 0), ("DNS", None, 0)]
    assert {row["repo"] for row, _ in rows} == {"generated/ftpd", "generated/named"}
    assert all(set(row) == set(label.COLUMNS) for row, _ in rows)


def test_the_server_may_call_from_its_port():
    rows = found([flow((SERVER, 3004), (CLIENT, 40_000), 6, 1_000), flow((SERVER, 3005), (CLIENT, 40_000), 6, 1_000)])
    assert [row["label"] for row, _ in rows] == ["FTP_DATA"]


def test_flows_without_payload_or_to_no_service_are_left_out():
    assert found([flow((CLIENT, 40_000), (SERVER, 2100), 6, 1_000, (0, 0)),
                  flow((CLIENT, 40_000), (SERVER, 2101), 6, 1_000),
                  flow((CLIENT, 2100), ("198.51.100.3", 40_000), 6, 1_000)]) == []


def test_the_summary_counts_what_ndpi_says_otherwise():
    rows = found([flow((CLIENT, 40_000 + n), (SERVER, 2100), 17, n * 1_000_000) for n in range(3)])
    rows = [(row, answer) for (row, _), answer in zip(rows, ["DNS", "DNS.Google", "STUN"])]
    (line,) = generated.summary(rows)
    assert (line["label"], line["name"], line["flows"], line["ndpi_agrees"], line["ndpi_says"]) == (
        "DNS", "named", 3, 2, {"STUN": 1})
