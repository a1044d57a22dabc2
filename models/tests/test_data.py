import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ntc_models import data
from ntc_models.catalogue import ClassRules

HEADER = "capture,src_ip,dst_ip,src_port,dst_port,proto,ip_version,first_ts_us,label,master,category,rank,repo"


def write(tmp_path):
    """Two flows as `ntc extract` writes them, the second with 22 packets, and one label each plus one of no flow."""
    many = 22
    table = pa.table({
        "capture": ["a.pcap", "a.pcap"],
        "src_ip": ["10.0.0.1", "fe80::1"],
        "dst_ip": ["10.0.0.2", "fe80::2"],
        "src_port": pa.array([40000, 50000], pa.uint16()),
        "dst_port": pa.array([53, 443], pa.uint16()),
        "proto": pa.array([17, 6], pa.uint8()),
        "first_ts_ns": pa.array([1_000_000_999, 2_000_000_000], pa.uint64()),
        "seq_len": pa.array([2, many], pa.uint8()),
        "direction": pa.array([[0, 1], [0, 1] * (many // 2)], pa.list_(pa.uint8())),
        "payload_len": pa.array([[30, 90], list(range(many))], pa.list_(pa.uint32())),
        "tcp_window": pa.array([[0, 0], [65535] * many], pa.list_(pa.uint16())),
        "gap_ns": pa.array([[0, 1500], [0] + [2_000_000] * (many - 1)], pa.list_(pa.uint64())),
    })
    pq.write_table(table, tmp_path / "flows.parquet")
    (tmp_path / "labels.csv").write_text("\n".join([
        HEADER,
        "a.pcap,10.0.0.1,10.0.0.2,40000,53,17,4,1000000,DNS.Google,DNS,Network,1,a/b",
        "a.pcap,fe80:0::1,fe80::2,50000,443,6,6,2000000,TLS.Google,TLS,Web,2,a/b",
        "a.pcap,10.0.0.9,10.0.0.2,40000,53,17,4,1000000,DNS,DNS,Network,1,a/b",
    ]))
    (tmp_path / "classes.csv").write_text("protocol,category,class\n*,*,web\n")
    return data.read_flows(tmp_path / "flows.parquet", data.read_labels(tmp_path / "labels.csv"),
                           ClassRules(tmp_path / "classes.csv"))


def test_the_tensor_is_raw_and_padded_with_zeros(tmp_path):
    flows, joined = write(tmp_path)
    assert joined == {"labelled": 3, "joined": 2}
    assert list(flows.service) == ["DNS", "TLS.Google"] and list(flows.protocol) == ["DNS", "TLS"]
    dns = flows.packets[0]
    assert dns.dtype == np.float32 and dns.shape == (20, 6)
    # Ports are the packet's, so they swap with the direction; the gap is in microseconds.
    np.testing.assert_array_equal(dns[0], [40000, 53, 30, 0, 0, 0])
    np.testing.assert_array_equal(dns[1], [53, 40000, 90, 0, 1.5, 1])
    assert not dns[2:].any()
    np.testing.assert_array_equal(flows.packets[1][19], [443, 50000, 19, 65535, 2000, 1])
    assert list(flows.length) == [2, 20]


def test_zstd_labels_are_read(tmp_path):
    write(tmp_path)
    with pa.output_stream(str(tmp_path / "labels.csv.zst"), compression="zstd") as stream:
        stream.write((tmp_path / "labels.csv").read_bytes())
    assert data.read_labels(tmp_path / "labels.csv.zst") == data.read_labels(tmp_path / "labels.csv")


def test_equal_data_has_an_equal_digest(tmp_path, flows):
    assert write(tmp_path)[0].digest() == write(tmp_path)[0].digest() != flows.digest()


def test_a_repository_is_in_one_fold_and_a_family_too(flows):
    flows = flows[np.arange(len(flows))]
    flows.repo[:20] = "ntop/nDPI"
    flows.repo[20:40] = "someone/nDPI-fork"
    folds = data.folds_by_repository(flows)
    for repo in set(flows.repo):
        assert len(set(folds[flows.repo == repo])) == 1
    assert set(folds[:40]) == {folds[0]}
    assert set(folds) == set(range(data.FOLDS))
    assert data.split_digest(folds) == data.split_digest(data.folds_by_repository(flows))


def test_validation_takes_whole_small_groups(flows):
    part = data.validation_part(flows, share=0.2, largest=0.1)
    assert 0.2 <= part.mean() <= 0.3
    assert not set(flows.repo[part]) & set(flows.repo[~part])


def test_the_vocabulary_has_frequent_services_only(flows):
    assert data.vocabulary(flows, min_flows=60) == ["DNS", "HTTP", "TLS", "TLS.Google"]
    assert data.vocabulary(flows[:100], min_flows=26) == []
