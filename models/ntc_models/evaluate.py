"""Figures of answers at three levels: service, protocol (before the dot), class.

Answers follow one rule everywhere, here and in the agent: the protocol with the highest summed probability, its
likeliest service, and that service's class. The confidence of an answer is its protocol's summed probability; at
service level it is the service's own probability. A model may also have labels for what it has no name for, one a class
(`catalogue.unnamed`). They are no protocol's, so they never name a flow; where they are likelier than the protocol, the
class is the likeliest one's.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from .catalogue import UNKNOWN

# -- knobs -------------------------------------------------------------------------------------------------------------
MACRO_MIN_FLOWS = 5  # macro F1 is over labels with this many flows
CALIBRATION_BINS = 15  # of equal mass
COVERAGE = 0.9  # the share of the surest answers in `coverage_90_accuracy`
ONE_VS_REST = 15  # labels
BOOTSTRAP = 400  # draws of repositories
# ----------------------------------------------------------------------------------------------------------------------

LEVELS = ("service", "protocol", "class")


@dataclass
class Answers:
    service: np.ndarray
    protocol: np.ndarray
    traffic_class: np.ndarray
    confidence: np.ndarray  # of the protocol
    service_confidence: np.ndarray

    def level(self, name):
        return {"service": self.service, "protocol": self.protocol, "class": self.traffic_class}[name]


def truth(flows, level):
    return {"service": flows.service, "protocol": flows.protocol, "class": flows.traffic_class}[level]


def protocol_matrix(labels, catalogue):
    """Protocol names, and the 0/1 matrix [services, protocols] that sums their probabilities."""
    protocols = sorted({catalogue[label].protocol for label in labels})
    matrix = np.zeros((len(labels), len(protocols)), dtype=np.float32)
    for row, label in enumerate(labels):
        matrix[row, protocols.index(catalogue[label].protocol)] = 1
    return protocols, matrix


def answer(probabilities, labels, catalogue):
    protocols, matrix = protocol_matrix(labels, catalogue)
    by_protocol = probabilities @ matrix
    named = np.array([protocol != UNKNOWN for protocol in protocols])
    best = np.where(named, by_protocol, -1).argmax(1)
    service = likeliest_of(best, probabilities, matrix)
    rows = np.arange(len(service))
    names = np.array(labels, dtype=object)
    classes = np.array([catalogue[label].traffic_class for label in labels], dtype=object)
    of_class = service
    if not named.all():
        nameless = np.full(len(rows), protocols.index(UNKNOWN))
        likelier = by_protocol[rows, nameless] > by_protocol[rows, best]
        of_class = np.where(likelier, likeliest_of(nameless, probabilities, matrix), service)
    return Answers(names[service], np.array(protocols, dtype=object)[best], classes[of_class],
                   by_protocol[rows, best], probabilities[rows, service])


def likeliest_of(protocol, probabilities, matrix):
    """The likeliest label of a protocol, both by place."""
    return np.where(matrix.T[protocol] > 0, probabilities, -1).argmax(1)


def scores(truth, predicted):
    """Accuracy, weighted precision, recall and F1, and macro F1 over labels with enough flows."""
    labels, counts = np.unique(truth.astype(str), return_counts=True)
    right = truth == predicted
    precision, recall, f1 = [], [], []
    for label, count in zip(labels, counts):
        hits = (right & (truth == label)).sum()
        said = (predicted == label).sum()
        precision.append(hits / said if said else 0.0)
        recall.append(hits / count)
        f1.append(2 * hits / (said + count))
    weight = counts / counts.sum()
    frequent = counts >= MACRO_MIN_FLOWS
    return {
        "accuracy": float(right.mean()),
        "weighted_f1": float(np.dot(weight, f1)),
        "macro_f1": float(np.mean(np.array(f1)[frequent])) if frequent.any() else 0.0,
        "weighted_precision": float(np.dot(weight, precision)),
        "weighted_recall": float(np.dot(weight, recall)),
    }


def calibration_error(right, confidence, bins=CALIBRATION_BINS):
    order = np.argsort(confidence, kind="stable")
    parts = np.array_split(order, bins)
    return float(sum(abs(right[part].mean() - confidence[part].mean()) * len(part) for part in parts if len(part))
                 / len(right))


def area_under_roc(positive, score):
    """The chance that a positive has the higher score than a negative; None without both kinds."""
    if positive.all() or not positive.any():
        return None
    ranks = np.empty(len(score))
    values, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    wins = ranks[positive].sum() - positive.sum() * (positive.sum() + 1) / 2
    return float(wins / (positive.sum() * (~positive).sum()))


def vocabularies(labels, catalogue):
    """What a model of these services may say, by level."""
    return {"service": set(labels), "protocol": {catalogue[label].protocol for label in labels},
            "class": {catalogue[label].traffic_class for label in labels}}


def evaluate(flows, answers, labels, catalogue, level, port_labels):
    """All figures of one level.

    `known` are the flows whose label the model could have given; `port_labels` is what the port table says of each
    flow at this level, None where it is silent, and off-port are the known flows that it has wrong.
    """
    wanted = truth(flows, level)
    said = answers.level(level)
    known = np.isin(wanted.astype(str), sorted(vocabularies(labels, catalogue)[level]))
    confidence = answers.service_confidence if level == "service" else answers.confidence
    right = wanted == said
    surest = np.argsort(-confidence, kind="stable")[: int(COVERAGE * len(right))]
    off_port = known & (port_labels != wanted)
    return {
        "flows": len(right),
        "known_flows": int(known.sum()),
        "labels": len(set(wanted)),
        **scores(wanted, said),
        "known_accuracy": mean(right[known]),
        "off_port_flows": int(off_port.sum()),
        "off_port_accuracy": mean(right[off_port]),
        "ece": calibration_error(right, confidence),
        "coverage_90_accuracy": mean(right[surest]),
        "unknown_auroc": area_under_roc(known, confidence),
    }


def mean(values):
    return float(values.mean()) if len(values) else None


def one_vs_rest(truth, said, labels):
    """Each label against all others, out of the multi-class answers; None where no flow has the label."""
    rows = []
    for label in labels:
        is_it, said_it = truth == label, said == label
        hits = int((is_it & said_it).sum())
        precision = hits / int(said_it.sum()) if said_it.any() else 0.0
        recall = hits / int(is_it.sum()) if is_it.any() else None
        rows.append({"label": label, "flows": int(is_it.sum()), "share": float(is_it.mean()),
                     "accuracy": float((is_it == said_it).mean()), "precision": precision, "recall": recall,
                     "f1": 2 * hits / int(is_it.sum() + said_it.sum()) if is_it.any() else None})
    return rows


def most_frequent(names, count=ONE_VS_REST):
    """The most frequent labels, most frequent first; equal ones by name."""
    counts = Counter(map(str, names))
    return sorted(counts, key=lambda name: (-counts[name], name))[:count]


def interval(truth, said, groups, draws=BOOTSTRAP, seed=0):
    """95% intervals of accuracy, weighted and macro F1 when groups are drawn anew: errors come in blocks."""
    names, flat = np.unique(np.concatenate([truth.astype(str), said.astype(str)]), return_inverse=True)
    true, guess = np.split(flat, 2)
    _, group = np.unique(groups.astype(str), return_inverse=True)
    random = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        weight = np.bincount(random.integers(group.max() + 1, size=group.max() + 1), minlength=group.max() + 1)[group]
        counts = np.bincount(true, weight, len(names))
        hits = np.bincount(true[true == guess], weight[true == guess], len(names))
        f1 = 2 * hits / np.maximum(counts + np.bincount(guess, weight, len(names)), 1)
        frequent = counts >= MACRO_MIN_FLOWS
        found.append((hits.sum() / counts.sum(), np.dot(f1, counts) / counts.sum(), f1[frequent].mean()))
    low, high = np.percentile(found, [2.5, 97.5], axis=0)
    return {name: [float(low[place]), float(high[place])]
            for place, name in enumerate(("accuracy", "weighted_f1", "macro_f1"))}
