"""The runs behind a bundle. Each is kept when done, so that a stopped study goes on where it was.

    by-repository  fold 0 of the repositories is never seen in training: the headline figures; its validation part
                   (other repositories again) sets the number of epochs, the temperature and the least confidence
    final          all flows, as many epochs: the network that ships
    random         a fold at random is held out, as many epochs: for comparison with papers, and flattering
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch

from . import data, evaluate, ports, train

# -- knobs -------------------------------------------------------------------------------------------------------------
TEST_FOLD = 0
SEED = 1
RIGHT_ANSWERS_KEPT = 0.99  # by the least confidence
# ----------------------------------------------------------------------------------------------------------------------


class Study:
    def __init__(self, architecture, flows, catalogue, work, device="cpu", knobs=train.Knobs()):
        self.architecture = architecture
        self.flows = flows
        self.catalogue = catalogue
        self.work = Path(work)
        self.device = train.set_up(device)
        self.knobs = knobs

    def train(self, name, flows, labels, **options):
        return train.train(self.architecture, flows, labels, self.catalogue, name=f"{self.architecture}-{name}",
                           seed=SEED, device=self.device, work=self.work, knobs=self.knobs, **options)

    def by_repository(self):
        """Figures on repositories that were never seen, and what they say about how to train the network that ships."""
        folds = data.folds_by_repository(self.flows)
        held_out = self.flows[folds == TEST_FOLD]
        seen = self.flows[folds != TEST_FOLD]
        part = data.validation_part(seen)
        fitted, validation = seen[~part], seen[part]
        labels = data.vocabulary(fitted)
        trained = self.train("by-repository", fitted, labels, validation=validation)
        logits = train.logits_of(trained.network, validation.packets, "cpu")
        temperature = train.fit_temperature(logits, validation, labels, self.catalogue)
        min_confidence = least_confidence(probabilities(logits, temperature), validation, labels, self.catalogue)
        strangers = probabilities(train.logits_of(trained.network, held_out.packets, "cpu"), temperature)
        return {
            "epochs": trained.epochs,
            "temperature": round(temperature, 4),
            "min_confidence": min_confidence,
            "answered": answered(strangers, held_out, labels, self.catalogue, min_confidence),
            "split_sha256": data.split_digest(folds),
            "training_flows": len(fitted),
            "validation_flows": len(validation),
            "figures": self.figures(strangers, held_out, labels),
            "baselines": baselines(seen, held_out),
            "by_protocol": by_protocol(strangers, held_out, labels, self.catalogue),
        }

    def random(self, epochs, temperature):
        folds = data.folds_at_random(self.flows)
        held_out, seen = self.flows[folds == TEST_FOLD], self.flows[folds != TEST_FOLD]
        labels = data.vocabulary(seen)
        trained = self.train("random", seen, labels, epochs=epochs)
        flattered = probabilities(train.logits_of(trained.network, held_out.packets, "cpu"), temperature)
        return {
            "split_sha256": data.split_digest(folds),
            "training_flows": len(seen),
            "figures": self.figures(flattered, held_out, labels),
            "baselines": baselines(seen, held_out),
        }

    def final(self, epochs):
        return self.train("final", self.flows, data.vocabulary(self.flows), epochs=epochs)

    def figures(self, probability, flows, labels):
        answers = evaluate.answer(probability, labels, self.catalogue)
        return {level: evaluate.evaluate(flows, answers, labels, self.catalogue, level) for level in evaluate.LEVELS}

    def kept(self, name, make):
        """The result of a run: read if this very run was done before, else made and written."""
        path = self.work / f"{self.architecture}-{name}.json"
        identity = self.identity()
        if path.exists():
            saved = json.loads(path.read_text())
            if saved["identity"] == identity:
                return saved["result"]
        result = make()
        path.write_text(json.dumps({"identity": identity, "result": result}, indent=1))
        return result

    def identity(self):
        parts = [self.architecture, self.flows.digest(), repr(self.knobs), SEED, TEST_FOLD]
        return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()


def probabilities(logits, temperature):
    return torch.softmax(logits / temperature, dim=1).numpy()


def least_confidence(probability, flows, labels, catalogue):
    """The confidence below which answers become `unknown`: as high as it may be without losing more than one right
    answer in a hundred. What is below it is nearly always wrong; who wants surer answers asks for more in the policy.
    """
    answers = evaluate.answer(probability, labels, catalogue)
    right = answers.protocol == flows.protocol
    order = np.argsort(-answers.confidence[right], kind="stable")
    kept = np.cumsum(train.weights(flows)[right][order])
    last = int(np.searchsorted(kept, RIGHT_ANSWERS_KEPT * kept[-1]))
    return round(float(answers.confidence[right][order][last]), 3)


def answered(probability, flows, labels, catalogue, min_confidence):
    """The share of flows that get an answer, and how many of those answers have the right protocol."""
    answers = evaluate.answer(probability, labels, catalogue)
    given = answers.confidence >= min_confidence
    right = answers.protocol == flows.protocol
    return {"share": float(given.mean()), "accuracy": float(right[given].mean()) if given.any() else 0.0}


def baselines(seen, held_out):
    """What needs no network: the most frequent label, and the port table."""
    evidence = ports.PortEvidence(seen)
    found = {}
    for level in evaluate.LEVELS:
        known = evaluate.truth(seen, level)
        wanted = evaluate.truth(held_out, level)
        names, counts = np.unique(known.astype(str), return_counts=True)
        majority = np.full(len(wanted), names[counts.argmax()], dtype=object)
        table = ports.PortTable(seen, known, evidence)(held_out)
        found[level] = {"majority": evaluate.scores(wanted, majority), "port_table": evaluate.scores(wanted, table)}
    return found


def by_protocol(probability, flows, labels, catalogue):
    """Flows, recall and precision of each protocol with enough flows, most frequent first."""
    said = evaluate.answer(probability, labels, catalogue).protocol
    names, counts = np.unique(flows.protocol.astype(str), return_counts=True)
    rows = []
    for name, count in sorted(zip(names, counts), key=lambda row: (-row[1], row[0])):
        if count >= evaluate.MACRO_MIN_FLOWS:
            hits = int(((said == name) & (flows.protocol == name)).sum())
            rows.append({"protocol": str(name), "flows": int(count), "recall": round(hits / int(count), 4),
                         "precision": round(hits / max(int((said == name).sum()), 1), 4)})
    return rows
