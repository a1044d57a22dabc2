"""Small flows made up for the tests; the corpus itself is not needed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import ntc_models  # noqa: E402, F401: sets the number of threads, before NumPy is imported
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)

from ntc_models.catalogue import Service  # noqa: E402
from ntc_models.data import FEATURES, SEQUENCE_LENGTH, Flows  # noqa: E402

# service -> (protocol number, server port, payloads by direction)
KINDS = {"DNS": (17, 53, (40, 120)), "HTTP": (6, 80, (300, 1400)), "TLS": (6, 443, (517, 1300)),
         "TLS.Google": (6, 443, (700, 1350))}


def make_flows(count=240, seed=0, repositories=12):
    random = np.random.default_rng(seed)
    packets = np.zeros((count, SEQUENCE_LENGTH, len(FEATURES)), dtype=np.float32)
    names, protos, repos, lengths = [], [], [], []
    for index in range(count):
        name = list(KINDS)[index % len(KINDS)]
        proto, server, payloads = KINDS[name]
        client = int(random.integers(32768, 61000))
        length = int(random.integers(2, SEQUENCE_LENGTH + 1))
        for place in range(length):
            direction = place % 2
            ports = (client, server) if direction == 0 else (server, client)
            window = 64240 if proto == 6 else 0
            gap = 0 if place == 0 else float(random.integers(1, 50_000))
            packets[index, place] = (*ports, payloads[direction] + random.integers(0, 9), window, gap, direction)
        names.append(name)
        protos.append(proto)
        lengths.append(length)
        repos.append(f"someone/captures-{index // len(KINDS) % repositories}")
    names = np.array(names, dtype=object)
    protocols = np.array([name.split(".")[0] for name in names], dtype=object)
    classes = np.where(protocols == "DNS", "management", "web").astype(object)
    return Flows(packets, np.array(lengths), np.array(protos), names, protocols, classes,
                 np.array(["a.pcap"] * count, dtype=object), np.array(repos, dtype=object))


@pytest.fixture(scope="session")
def flows():
    return make_flows()


@pytest.fixture(scope="session")
def services():
    return {name: Service(index + 1, name, name.split(".")[0], "management" if name == "DNS" else "web")
            for index, name in enumerate(KINDS)}
