"""Other people's data sets as `Flows`, for training and comparison: CESNET's CSV files, MIRAGE's JSON files, and tables
that NFStream wrote. None of the public sets was run with this package; the formats are tested on small made-up files.

What a set does not have is 0: CESNET and NFStream record no TCP window. Their applications are not nDPI's services, so
`catalogue_of` gives each set a catalogue of its own: one service an application, its protocol the same.

    flows = adapters.cesnet("flows-20221121.csv.gz")
    train.train(flows, data.vocabulary(flows), adapters.catalogue_of(flows), ...)
"""

import csv
import gzip
import json
from pathlib import Path

import numpy as np

from .catalogue import UNKNOWN, Service
from .data import DIRECTION, DST_PORT, FEATURES, GAP, PAYLOAD, SEQUENCE_LENGTH, SRC_PORT, WINDOW, Flows


def cesnet(path):
    """CESNET-TLS22, -QUIC22 and -TLS-Year22: a flow a line. PPI is [[gaps in ms], [1 from the client or -1], [payload
    bytes], ...], of which the first 20 packets are taken.
    """
    flows = []
    for row in rows_of(path):
        gaps, directions, sizes = json.loads(row["PPI"])[:3]
        flows.append(flow(path, row["APP"], int(row["PROTOCOL"]), (int(row["SRC_PORT"]), int(row["DST_PORT"])),
                          sizes, np.asarray(gaps) * 1000.0, np.asarray(directions) < 0,
                          traffic_class=row.get("CATEGORY")))
    return together(flows)


def mirage(path):
    """MIRAGE-2019 and MIRAGE-COVID-CCMA-2022: a file a capture of one application on one phone, a biflow by its
    "address,port,address,port,protocol". Gaps are seconds, direction 0 is from the phone.
    """
    flows = []
    with opened(path) as file:
        biflows = json.load(file)
    for name, biflow in biflows.items():
        packets = biflow["packet_data"]
        _, src, _, dst, proto = name.split(",")
        ports = (int(src), int(dst))
        reply = np.asarray(packets["packet_dir"]) == 1
        # Direction 0 is the first packet's, as in `ntc extract`; a capture may have begun with a reply.
        if len(reply) and reply[0]:
            ports, reply = ports[::-1], ~reply
        flows.append(flow(path, biflow["flow_metadata"]["BF_label"], int(proto), ports, packets["L4_payload_bytes"],
                          np.asarray(packets["iat"]) * 1e6, reply, packets["TCP_win_size"]))
    return together(flows)


def nfstream(path):
    """A table of `NFStreamer(..., splt_analysis=20, accounting_mode=3).to_csv()`: sizes are of the payload in that mode
    alone, which the table does not tell. Gaps are milliseconds; -1 stands where there is no packet. nDPI's guesses are
    left out.
    """
    flows = []
    for row in rows_of(path):
        if int(float(row["application_is_guessed"])) or row["application_name"] == "Unknown":
            continue
        directions, sizes, gaps = (np.asarray(json.loads(row[f"splt_{name}"])) for name in
                                   ("direction", "ps", "piat_ms"))
        there = directions >= 0
        flows.append(flow(path, row["application_name"], int(row["protocol"]),
                          (int(row["src_port"]), int(row["dst_port"])), sizes[there], gaps[there] * 1000.0,
                          directions[there] == 1, traffic_class=row["application_category_name"]))
    return together([one for one in flows if one["length"] and one["proto"] in (6, 17)])


def catalogue_of(flows):
    """A catalogue of the set's own applications, ids in the order of their names."""
    classes = dict(zip(flows.service, flows.traffic_class))
    return {name: Service(number, name, name, classes[name]) for number, name in enumerate(sorted(classes), 1)}


def flow(path, application, proto, ports, sizes, gaps_us, reply, windows=None, traffic_class=None):
    length = min(len(sizes), SEQUENCE_LENGTH)
    reply = np.asarray(reply, dtype=bool)[:length]
    packets = np.zeros((SEQUENCE_LENGTH, len(FEATURES)), dtype=np.float32)
    packets[:length, SRC_PORT] = np.where(reply, ports[1], ports[0])
    packets[:length, DST_PORT] = np.where(reply, ports[0], ports[1])
    packets[:length, PAYLOAD] = sizes[:length]
    packets[:length, WINDOW] = 0 if windows is None or proto != 6 else windows[:length]
    packets[:length, GAP] = gaps_us[:length]
    packets[:1, GAP] = 0
    packets[:length, DIRECTION] = reply
    # A dot would tell a protocol from its application.
    return {"packets": packets, "length": length, "proto": proto, "service": application.replace(".", "_"),
            "traffic_class": traffic_class or UNKNOWN, "capture": Path(path).name}


def together(flows):
    column = {name: np.array([one[name] for one in flows], dtype=object)
              for name in ("service", "traffic_class", "capture")}
    return Flows(
        packets=np.array([one["packets"] for one in flows]).reshape(-1, SEQUENCE_LENGTH, len(FEATURES)),
        length=np.array([one["length"] for one in flows], dtype=int),
        proto=np.array([one["proto"] for one in flows], dtype=int),
        service=column["service"], protocol=column["service"].copy(), traffic_class=column["traffic_class"],
        capture=column["capture"], repo=column["capture"].copy())


def rows_of(path):
    with opened(path) as file:
        yield from csv.DictReader(file)


def opened(path):
    if str(path).endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return open(path, encoding="utf-8", newline="")
