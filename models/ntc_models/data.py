"""From `ntc extract --flow-rule corpus` and nDPI's labels to what a network trains on.

    flows.parquet + labels.csv  ->  Flows: packets [N,20,6] raw, service, protocol, class, repository
                                ->  vocabulary: the services with enough flows
                                ->  folds: whole repositories, by digest
"""

import csv
import hashlib
import io
import socket
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from .catalogue import MAX_RANK, MIN_FLOWS, protocol_of, service_of

# -- knobs -------------------------------------------------------------------------------------------------------------
SEQUENCE_LENGTH = 20
FEATURES = ("src_port", "dst_port", "payload_len", "tcp_window", "gap_us", "direction")
FOLDS = 5
SPLIT_SEED = "ntc-1"  # part of every digest that deals repositories to folds
VALIDATION_SHARE = 0.15  # of the training flows
LARGEST_VALIDATION_GROUP = 0.03  # likewise
# Copies of nDPI's own test captures live in several repositories: one group, so that no fold tests on a copy.
FAMILIES = ("ntop", "nDPI")
# ----------------------------------------------------------------------------------------------------------------------

SRC_PORT, DST_PORT, PAYLOAD, WINDOW, GAP, DIRECTION = range(len(FEATURES))
TCP = 6


@dataclass
class Flows:
    """Parallel arrays, one entry a flow; sorted, so that equal data has an equal digest."""

    packets: np.ndarray  # float32 [N, 20, 6], raw: ports, bytes, 16-bit window, microseconds, 0/1; padding is zero
    length: np.ndarray  # packets that are no padding
    proto: np.ndarray  # 6 or 17
    service: np.ndarray
    protocol: np.ndarray
    traffic_class: np.ndarray  # of the flow's own nDPI category
    capture: np.ndarray
    repo: np.ndarray

    def __len__(self):
        return len(self.service)

    def __getitem__(self, index):
        return Flows(**{field.name: getattr(self, field.name)[index] for field in fields(self)})

    def digest(self):
        """SHA-256 of tensors, labels and groups: what a model was trained on, whoever extracted it."""
        digest = hashlib.sha256()
        digest.update(np.ascontiguousarray(self.packets, dtype="<f4").tobytes())
        for names in (self.service, self.traffic_class, self.repo):
            digest.update("\n".join(names).encode())
        return digest.hexdigest()


def read_labels(path):
    """The rows of labels.csv, plain or zstd, as dicts."""
    compression = "zstd" if str(path).endswith(".zst") else None
    with pa.input_stream(str(path), compression=compression) as stream:
        return list(csv.DictReader(io.StringIO(stream.read().decode())))


def pad(lists, length=SEQUENCE_LENGTH):
    """An Arrow list column as float64 [N, length], zero beyond each list's end."""
    lists = lists.combine_chunks()
    offsets = lists.offsets.to_numpy()
    values = lists.flatten().to_numpy(zero_copy_only=False)
    position = np.arange(length)
    index = offsets[:-1, None] - offsets[0] + position
    there = position < np.diff(offsets)[:, None]
    return np.where(there, values[np.minimum(index, len(values) - 1)] if len(values) else 0, 0).astype(np.float64)


def tensor(table):
    """The raw [N, 20, 6] input of every model, from `ntc extract`'s columns."""
    lengths = np.minimum(table["seq_len"].to_numpy(), SEQUENCE_LENGTH)
    there = np.arange(SEQUENCE_LENGTH) < lengths[:, None]
    direction = pad(table["direction"])
    forward = direction == 0
    src = table["src_port"].to_numpy().astype(np.float64)[:, None]
    dst = table["dst_port"].to_numpy().astype(np.float64)[:, None]

    packets = np.zeros((len(lengths), SEQUENCE_LENGTH, len(FEATURES)))
    packets[:, :, SRC_PORT] = np.where(forward, src, dst)  # of the packet: the ports swap with the direction
    packets[:, :, DST_PORT] = np.where(forward, dst, src)
    packets[:, :, PAYLOAD] = pad(table["payload_len"])
    packets[:, :, WINDOW] = pad(table["tcp_window"])
    packets[:, :, GAP] = pad(table["gap_ns"]) / 1000
    packets[:, 0, GAP] = 0
    packets[:, :, DIRECTION] = direction
    packets *= there[:, :, None]
    return packets.astype(np.float32), lengths


def address(text):
    """Bytes of an address: two spellings of one IPv6 address are equal."""
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def read_flows(parquet, labels, class_rules, max_rank=MAX_RANK):
    """Labelled flows in a fixed order, and how the join went.

    Joined by capture, 5-tuple and first time stamp (microseconds, as the labels have it).
    """
    table = pq.read_table(parquet)
    names = ("capture", "src_ip", "dst_ip", "src_port", "dst_port", "proto")
    columns = [table[name].to_pylist() for name in names]
    first_us = table["first_ts_ns"].to_numpy() // 1000

    wanted = {}
    for row in labels:
        if int(row["rank"]) <= max_rank:
            key = (row["capture"], address(row["src_ip"]), address(row["dst_ip"]), int(row["src_port"]),
                   int(row["dst_port"]), int(row["proto"]), int(row["first_ts_us"]))
            wanted[key] = row

    found = []
    for index, (capture, src, dst, *rest) in enumerate(zip(*columns, first_us.tolist())):
        key = (capture, address(src), address(dst), *rest)
        if key in wanted:
            found.append((key, index))
    found.sort()
    rows = [wanted[key] for key, _ in found]
    packets, lengths = tensor(table.take(pa.array([index for _, index in found])))

    service = [service_of(row["label"]) for row in rows]
    flows = Flows(
        packets=packets,
        length=lengths,
        proto=np.array([int(row["proto"]) for row in rows]),
        service=np.array(service, dtype=object),
        protocol=np.array([protocol_of(name) for name in service], dtype=object),
        traffic_class=np.array([class_rules(row["master"], row["category"]) for row in rows], dtype=object),
        capture=np.array([row["capture"] for row in rows], dtype=object),
        repo=np.array([row["repo"] for row in rows], dtype=object),
    )
    return flows, {"labelled": len(wanted), "joined": len(found)}


def read_generated(folder, class_rules):
    """Flows of the outputs of `cargo xtask generate` under a folder: each with flows.parquet and labels.csv."""
    parts = [read_flows(labels.with_name("flows.parquet"), read_labels(labels), class_rules)[0]
             for labels in sorted(Path(folder).glob("**/labels.csv"))]
    if not parts:
        raise ValueError(f"{folder} has no labels.csv")
    return Flows(**{field.name: np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Flows)})


def vocabulary(flows, min_flows=MIN_FLOWS):
    """The services that a model of these flows knows, most frequent first."""
    counts = Counter(flows.service)
    return sorted((name for name in counts if counts[name] >= min_flows), key=lambda name: (-counts[name], name))


def group_of(repo):
    """The repository, or the family that it belongs to."""
    return "family:" + FAMILIES[0] if any(family in repo for family in FAMILIES) else repo


def folds_by_repository(flows, folds=FOLDS, seed=SPLIT_SEED):
    """Each flow's fold; a repository or family is in one fold only."""
    return deal(np.array([group_of(repo) for repo in flows.repo], dtype=object), folds, seed)


def deal(groups, folds=FOLDS, seed=SPLIT_SEED):
    """Each flow's fold; a group is in one fold only.

    Groups are taken in the order of their digests and dealt each to the fold that has the fewest flows so far, so
    that no choice of ours is in the split and the folds stay near to equal.
    """
    sizes = Counter(groups)
    filled = [0] * folds
    dealt = {}
    for group in sorted(sizes, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest()):
        dealt[group] = filled.index(min(filled))
        filled[dealt[group]] += sizes[group]
    return np.array([dealt[group] for group in groups])


def folds_at_random(flows, folds=FOLDS, seed=0):
    """The flattering split: flows of one capture on both sides."""
    return np.random.default_rng(seed).permutation(len(flows)) % folds


def split_digest(folds):
    return hashlib.sha256(folds.astype("<u1").tobytes()).hexdigest()


def validation_part(flows, share=VALIDATION_SHARE, largest=LARGEST_VALIDATION_GROUP, seed=SPLIT_SEED):
    """Which flows are for stopping and calibration: whole groups by digest, none of them large.

    Large ones are left to training: a validation set that is mostly one capture measures that capture.
    """
    groups = np.array([group_of(repo) for repo in flows.repo], dtype=object)
    sizes = Counter(groups)
    taken, total = set(), 0
    for group in sorted(sizes, key=lambda name: hashlib.sha256(f"{seed}/validation/{name}".encode()).digest()):
        if total >= share * len(flows):
            break
        if sizes[group] <= largest * len(flows):
            taken.add(group)
            total += sizes[group]
    if not taken:
        raise ValueError(f"no repository has {largest:.0%} of the flows or fewer: none is left for validation")
    return np.array([group in taken for group in groups])
