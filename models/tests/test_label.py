import csv
import struct

import pytest

from ntc_models import label


def flow(first_ns, src_port=40_000, **more):
    return {"capture": "a.pcap", "src_ip": "2001:db8::1", "dst_ip": "2001:db8:0::2", "src_port": src_port,
            "dst_port": 53, "proto": 17, "ip_version": 6, "first_ts_ns": first_ns, "packets": 2, **more}


def key(first_ms, src_port=40_000):
    return label.address("2001:db8:0:0::1"), label.address("2001:db8::2"), src_port, 53, 17, first_ms


def test_flows_are_joined_by_ends_and_first_millisecond():
    said = {key(7): ("DNS.Google", "Network", 6), key(9, 40_001): ("DNS.Google", "Network", 6)}
    flows = [flow(9_000_999, 40_001), flow(7_999_999), flow(8_000_000), flow(9_000_999, 40_002)]
    found = list(label.rows(flows, said, "/x/a.pcap", None))
    assert [(row["first_ts_us"], row["rank"], row["label"], row["master"]) for row in found] == [
        (7_999, 1, "DNS.Google", "DNS"), (9_000, 2, "DNS.Google", "DNS")]
    assert {row["repo"] for row in found} == {"a.pcap"}
    assert {row["repo"] for row in label.rows(flows, said, "/x/a.pcap", "mine")} == {"mine"}
    assert all(set(row) == set(label.COLUMNS) for row in found)


def test_captures_are_told_by_name(tmp_path):
    for name in ("x/a.pcap", "y/a.pcap", "y/b.pcap", "y/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert label.files([tmp_path / "y"], {"b.pcap"}) == {"b.pcap": tmp_path / "y" / "b.pcap"}
    with pytest.raises(SystemExit, match="by their names"):
        label.files([tmp_path], {"a.pcap"})


def dns():
    """Question and answer for example.com, as Ethernet frames."""
    name = b"\x07example\x03com\x00\x00\x01\x00\x01"
    question = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + name
    answer = b"\x12\x34\x81\x80\x00\x01\x00\x01" + bytes(4) + name + b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x05\x06\x07\x08"
    ends = (bytes([192, 0, 2, 1]), 40_000), (bytes([198, 51, 100, 1]), 53)
    for (source, destination), payload in ((ends, question), (ends[::-1], answer)):
        udp = struct.pack(">HHHH", source[1], destination[1], 8 + len(payload), 0) + payload
        ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0) + source[0] + destination[0]
        yield bytes(12) + b"\x08\x00" + ip + udp


def test_a_capture_is_labelled_by_its_payload(tmp_path):
    pytest.importorskip("nfstream", reason="`cargo xtask label` installs it in an environment of its own")
    import pyarrow as pa
    import pyarrow.parquet as pq

    capture = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for place, frame in enumerate(dns()):
        capture += struct.pack("<IIII", 1_700_000_000, 1_999 + place, len(frame), len(frame)) + frame
    (tmp_path / "a.pcap").write_bytes(capture)
    here = flow(1_700_000_000_001_999_000, src_ip="192.0.2.1", dst_ip="198.51.100.1", ip_version=4)
    pq.write_table(pa.Table.from_pylist([here, {**here, "src_port": 9}]), tmp_path / "flows.parquet")
    label.main([str(tmp_path), "--flows", str(tmp_path / "flows.parquet"), "-o", str(tmp_path / "labels.csv")])
    with open(tmp_path / "labels.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["label"], row["category"], row["first_ts_us"]) == ("DNS", "Network", "1700000000001999")
