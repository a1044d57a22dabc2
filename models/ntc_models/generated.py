"""Labels of `cargo xtask generate`: true by construction, compared with nDPI's. In the environment of `labelling.txt`.

    truth.json: server port -> label, by capture --+
    ntc extract --flow-rule corpus -> flows -------+--> labels.csv, as training and `ntc eval` read it
    captures -> nfstream (nDPI) -------------------+--> report.json: where nDPI says otherwise

A flow is the service's whose port of the server it goes to. Flows without any payload (refused, given up) say nothing of
their protocol and are left out, as those are that go to no port of a service. The column `repo` is `generated/NAME`,
so that such flows are always told from people's captures; `path` says over which line and on which kind of port.
"""

import argparse
import csv
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

from .label import COLUMNS, address, inspected

SOURCE = "generated"  # first part of the column `repo`
TRANSPORTS = {"tcp": 6, "udp": 17}


class Truth:
    """Whose the flows of one capture are."""

    def __init__(self, servers, this_round):
        self.servers = {address(server) for server in servers}
        self.ports = this_round["ports"]
        line = this_round["line"]
        kind = "random" if this_round["random_ports"] else "standard"
        self.path = (f"{kind} ports, IPv{line['ip_version']}, {line['rtt_ms']:.1f} ms, {line['mbit_s']:.0f} Mbit/s, "
                     f"{line['loss']:.2%} lost, MTU {line['mtu']}, near the {'server' if line['near_server'] else 'client'}")

    def of(self, flow):
        """The entry of the port that a flow goes to, or comes from where the server calls."""
        for ip, port in ((flow["dst_ip"], flow["dst_port"]), (flow["src_ip"], flow["src_port"])):
            if address(ip) in self.servers:
                for entry in self.ports:
                    if (TRANSPORTS[entry["transport"]] == flow["proto"]
                            and port in range(entry["first"], entry["last"] + 1, entry["step"])):
                        return entry
        return None


def rows(flows, truth, said):
    """Lines of the label file for a capture's flows, each with nDPI's label or None."""
    ranks = Counter()
    for flow in sorted(flows, key=lambda flow: flow["first_ts_ns"]):
        entry = truth.of(flow)
        if entry is None or not any(flow["payload_len"]):
            continue
        first_us = flow["first_ts_ns"] // 1000
        ends = (address(flow["src_ip"]), address(flow["dst_ip"]), flow["src_port"], flow["dst_port"], flow["proto"])
        answer, _, confidence = said.get((*ends, first_us // 1000), (None, None, 0))
        label = entry["label"]
        agrees = answer is not None and label in answer.split(".")
        ranks[label] += 1
        yield {"capture": flow["capture"], "src_ip": flow["src_ip"], "dst_ip": flow["dst_ip"],
               "src_port": flow["src_port"], "dst_port": flow["dst_port"], "proto": flow["proto"],
               "ip_version": flow["ip_version"], "first_ts_us": first_us, "label": label, "master": label,
               "category": entry["category"], "confidence": confidence if agrees else 0, "n_packets": flow["packets"],
               "rank": ranks[label], "repo": f"{SOURCE}/{entry['name']}", "path": truth.path}, answer


def summary(found):
    """By label and name: flows, how many nDPI calls alike, and what it says of the others (`-`: nothing)."""
    table = defaultdict(lambda: {"flows": 0, "packets": 0, "ndpi_agrees": 0, "ndpi_says": Counter()})
    for row, answer in found:
        entry = table[row["label"], row["repo"].removeprefix(f"{SOURCE}/")]
        entry["flows"] += 1
        entry["packets"] += row["n_packets"]
        if answer is not None and row["label"] in answer.split("."):
            entry["ndpi_agrees"] += 1
        else:
            entry["ndpi_says"][answer or "-"] += 1
    return [{"label": label, "name": name, **entry, "ndpi_says": dict(entry["ndpi_says"].most_common(4))}
            for (label, name), entry in sorted(table.items())]


def show(table, skipped):
    print(f"{'label':<14} {'name':<24} {'flows':>6} {'nDPI alike':>10}  nDPI otherwise (-: nothing)")
    for row in table:
        otherwise = ", ".join(f"{label} {count}" for label, count in row["ndpi_says"].items())
        print(f"{row['label']:<14} {row['name']:<24} {row['flows']:>6} {row['ndpi_agrees']:>10}  {otherwise}")
    flows, alike = (sum(row[key] for row in table) for key in ("flows", "ndpi_agrees"))
    said = alike + sum(count for row in table for label, count in row["ndpi_says"].items() if label != "-")
    print(f"{flows} flows of {len({row['label'] for row in table})} protocols and {len(table)} pairs; "
          f"nDPI names {said}, {alike} of these alike; left out: {skipped} without payload or of no service")


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="cargo xtask generate", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with truth.json, flows.parquet, standard/ and random/")
    folder = parser.parse_args(arguments).folder
    import pyarrow.parquet as pq

    truth = json.loads((folder / "truth.json").read_text())
    columns = ["capture", "src_ip", "dst_ip", "src_port", "dst_port", "proto", "ip_version", "first_ts_ns", "packets",
               "payload_len"]
    by_capture = defaultdict(list)
    for flow in pq.read_table(folder / "flows.parquet", columns=columns).to_pylist():
        by_capture[flow["capture"]].append(flow)

    found = []
    with open(folder / "labels.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for this_round in truth["rounds"]:
            name = this_round["capture"]
            path = folder / ("random" if this_round["random_ports"] else "standard") / name
            for row, answer in rows(by_capture[name], Truth(truth["servers"], this_round), inspected(path)):
                writer.writerow(row)
                found.append((row, answer))
    table = summary(found)
    skipped = sum(map(len, by_capture.values())) - len(found)
    (folder / "report.json").write_text(json.dumps({"pairs": table, "left_out": skipped}, indent=1) + "\n")
    show(table, skipped)
    return 0


if __name__ == "__main__":
    sys.exit(main())
