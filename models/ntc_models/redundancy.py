"""How much of the data is the same flow again, where equal flows have different labels, and so what any model could
attain at most: of flows that look alike to it, only those with the most frequent label can be right.
"""

import numpy as np

from . import data, evaluate, ports, runs, splits
from .data import DIRECTION, PAYLOAD, SEQUENCE_LENGTH

# What is compared. Client ports are drawn anew for each flow and gaps never repeat to the microsecond, so two flows are
# "the same" only without them; `shape` is what papers on duplicates use.
VIEWS = {
    "shape": (PAYLOAD, DIRECTION),
    "shape and server port": (PAYLOAD, DIRECTION, "server"),
    "no-ports-no-time": runs.FEATURE_SETS["no-ports-no-time"],
    "no-time, without the client's port": (*runs.FEATURE_SETS["no-ports-no-time"], "server"),
    "all": runs.FEATURE_SETS["all"],
}


def groups(flows, view, evidence, length=SEQUENCE_LENGTH):
    """A number for each flow, the same for flows that are equal in this view over their first packets.

    How many packets there are is part of every view: padding is seen as such.
    """
    wanted = [column for column in view if column != "server"]
    parts = [flows.packets[:, :length, wanted].reshape(len(flows), -1),
             np.minimum(flows.length, length)[:, None], flows.proto[:, None]]
    if "server" in view:
        parts.append(evidence.server_port(flows)[:, None])
    rows = np.ascontiguousarray(np.concatenate(parts, axis=1).astype("<f8"))
    return np.unique(rows.view(np.dtype((np.void, rows.shape[1] * 8)))[:, 0], return_inverse=True)[1]


def repeated(group):
    """The share of flows that are equal to at least one other."""
    return float((np.bincount(group)[group] > 1).mean())


def seen_before(group, held_out):
    """The share of held-out flows that are equal to a flow outside."""
    return float(np.isin(group[held_out], group[~held_out]).mean())


def attainable(group, labels):
    """The accuracy of always giving the most frequent label among equal flows: no model of this view has more."""
    _, label = np.unique(labels.astype(str), return_inverse=True)
    pairs, counts = np.unique(group.astype(np.int64) * (label.max() + 1) + label, return_counts=True)
    best = np.zeros(group.max() + 1, dtype=np.int64)
    np.maximum.at(best, pairs // (label.max() + 1), counts)
    return float(best.sum() / len(group))


def conflicting(group, labels):
    """The share of flows that have an equal one with another label."""
    _, label = np.unique(labels.astype(str), return_inverse=True)
    first = np.full(group.max() + 1, label.max() + 1)
    last = np.full(group.max() + 1, -1)
    np.minimum.at(first, group, label)
    np.maximum.at(last, group, label)
    return float((first != last)[group].mean())


def report(flows):
    """All of it, for `models/study/data.json`."""
    evidence = ports.PortEvidence(flows)
    held_out = {name: splits.make(name, flows).held_out for name in ("random", "by-capture", "by-repository")}
    views = {}
    for name, view in VIEWS.items():
        group = groups(flows, view, evidence)
        views[name] = {
            "repeated": repeated(group),
            "seen_before": {split: seen_before(group, chosen) for split, chosen in held_out.items()},
            "conflicting": {level: conflicting(group, evaluate.truth(flows, level)) for level in evaluate.LEVELS},
            "attainable": {level: attainable(group, evaluate.truth(flows, level)) for level in evaluate.LEVELS},
        }
    by_length = []
    for length in range(1, SEQUENCE_LENGTH + 1):
        group = groups(flows, VIEWS["no-time, without the client's port"], evidence, length)
        by_length.append({"packets": length, **{level: attainable(group, evaluate.truth(flows, level))
                                                for level in evaluate.LEVELS}})
    known = {}
    for split, chosen in held_out.items():
        labels = data.vocabulary(flows[~chosen])
        known[split] = {"labels": len(labels), "held_out": int(chosen.sum()),
                        "known_service": float(np.isin(flows.service[chosen].astype(str), labels).mean())}
    return {"data_sha256": flows.digest(), "flows": len(flows), "repositories": len(set(flows.repo)),
            "captures": len(set(flows.capture)), "services": len(set(flows.service)),
            "protocols": len(set(flows.protocol)), "views": views, "attainable_by_length": by_length, "splits": known}
