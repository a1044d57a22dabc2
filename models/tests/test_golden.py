"""`golden-evaluation.json`: flows with probabilities and the figures that follow, to which `ntc eval` is held, too.

    python tests/test_golden.py     writes it anew; only a change of the definitions asks for that
"""

import csv
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from ntc_models import catalogue, evaluate, ports
from ntc_models.data import FEATURES, SEQUENCE_LENGTH, Flows

GOLDEN = Path(__file__).parent / "golden-evaluation.json"
# The last two are for what has no name.
LABELS = ["DNS", "TLS", "TLS.Google", "HTTP", "NTP", "TLS.Microsoft", "SSH", "QUIC.Google", "unknown.realtime",
          "unknown.interactive"]
NAMED = LABELS[:-2]
# True labels that no answer can be: the second has a protocol that one can be, the third not even that.
STRANGE = ["RDP", "TLS.Netflix", "SIP"]
PORTS = {"DNS": (17, 53), "NTP": (17, 123), "HTTP": (6, 80), "SSH": (6, 22), "QUIC.Google": (17, 443), "RDP": (6, 3389),
         "SIP": (17, 5060)}
FLOWS = 203  # no multiple of the bins
LEAST = 1e-6  # figures may be apart by so much


class Committed(ports.PortTable):
    """The committed port table at one level."""

    def __init__(self, level):
        self.evidence, self.table = ports.PortEvidence.__new__(ports.PortEvidence), {}
        votes = self.evidence.votes = {6: np.zeros(ports.PORTS), 17: np.zeros(ports.PORTS)}
        with open(ports.COMMITTED, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                key = int(row["proto"]), int(row["port"])
                votes[key[0]][key[1]] = int(row["repositories"])
                if row[level]:
                    self.table[key] = row[level]
        for counts in votes.values():
            counts[: ports.SYSTEM_PORTS] += 0.5


def figures(golden):
    """What the definitions say of the flows of the file."""
    rows = golden["flows"]
    packets = np.zeros((len(rows), SEQUENCE_LENGTH, len(FEATURES)), dtype=np.float32)
    packets[:, 0, :2] = [(row["src_port"], row["dst_port"]) for row in rows]
    column = {name: np.array([row.get(name, "") for row in rows], dtype=object)
              for name in ("service", "protocol", "class", "capture", "repo")}
    flows = Flows(packets, np.ones(len(rows), dtype=int), np.array([row["proto"] for row in rows]), column["service"],
                  column["protocol"], column["class"], column["capture"], column["repo"])
    services = catalogue.read()
    answers = evaluate.answer(np.array([row["probabilities"] for row in rows], dtype=np.float32), golden["labels"],
                              services)
    return {level: evaluate.evaluate(flows, answers, golden["labels"], services, level, Committed(level)(flows))
            for level in evaluate.LEVELS}


def flows_made_up():
    random = np.random.default_rng(4)
    services = catalogue.read()
    rows = []
    for index in range(FLOWS):
        name = (STRANGE if index % 9 == 8 else NAMED)[random.integers(3 if index % 9 == 8 else len(NAMED))]
        proto, server = PORTS.get(name, (6, 443))
        if index % 7 == 0:
            server = int(random.integers(1024, 32768))
        client = int(random.integers(32768, 61000))
        logits = random.normal(0, 1.5, len(LABELS))
        if name in LABELS:
            logits[LABELS.index(name)] += 2.5
        # In eighths of a thousandth: exact in 32 bits, so that both sides read the same numbers, and some are equal.
        shares = np.round(8 * np.exp(logits) / np.exp(logits).sum()) / 8 if index % 4 == 0 else \
            np.round(8192 * np.exp(logits) / np.exp(logits).sum()) / 8192
        src, dst = (client, server) if index % 5 else (server, client)
        # The class is that of the flow's own category, so it may be another than the service's.
        traffic_class = "bulk" if index % 11 == 0 else services[name].traffic_class if name in services else "realtime"
        rows.append({"service": name, "protocol": catalogue.protocol_of(name), "class": traffic_class, "proto": proto,
                     "src_port": src, "dst_port": dst, "probabilities": shares.tolist()})
    return {"labels": LABELS, "flows": rows}


def test_the_definitions_give_the_golden_figures():
    golden = json.loads(GOLDEN.read_text())
    for level, found in figures(golden).items():
        assert found.keys() == golden["figures"][level].keys()
        for name, value in found.items():
            assert value == pytest.approx(golden["figures"][level][name], abs=LEAST), (level, name)


def test_no_figure_of_the_golden_file_is_empty_or_perfect():
    golden = json.loads(GOLDEN.read_text())
    for level in evaluate.LEVELS:
        found = golden["figures"][level]
        assert 0 < found["off_port_flows"] < found["known_flows"] < found["flows"]
        assert all(0 < found[name] < 1 for name in found if not name.endswith("flows") and name != "labels")


def test_the_committed_port_table_has_its_digest():
    wanted, name = Path(f"{ports.COMMITTED}.sha256").read_text().split()
    assert (wanted, name) == (hashlib.sha256(ports.COMMITTED.read_bytes()).hexdigest(), ports.COMMITTED.name)


if __name__ == "__main__":
    made = flows_made_up()
    made["figures"] = figures(made)
    lines = ",\n".join(f"  {json.dumps(row)}" for row in made["flows"])
    GOLDEN.write_text(f'{{\n "labels": {json.dumps(made["labels"])},\n "flows": [\n{lines}\n ],\n "figures": '
                      f'{json.dumps(made["figures"], indent=1)}\n}}\n')
