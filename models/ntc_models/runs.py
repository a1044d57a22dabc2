"""One run of the study: what it is, and what it finds.

A run with the same id on the same data gives the same result.
"""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from . import architectures, baselines, data, evaluate, ports, splits, train
from .data import DIRECTION, DST_PORT, GAP, PAYLOAD, SEQUENCE_LENGTH, SRC_PORT, WINDOW

# Table II of the paper, its sets 1 to 4 by what they leave out.
FEATURE_SETS = {
    "all": (SRC_PORT, DST_PORT, PAYLOAD, WINDOW, GAP, DIRECTION),
    "no-time": (SRC_PORT, DST_PORT, PAYLOAD, WINDOW, DIRECTION),
    "no-ports": (PAYLOAD, WINDOW, GAP, DIRECTION),
    "no-ports-no-time": (PAYLOAD, WINDOW, DIRECTION),
    "no-ports-no-window": (PAYLOAD, GAP, DIRECTION),
}

# -- knobs -------------------------------------------------------------------------------------------------------------
EPOCHS = 24
RIGHT_ANSWERS_KEPT = 0.99  # by the least confidence
# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    architecture: str  # of `architectures`, or of `baselines`
    split: str
    features: str = "all"
    length: int = SEQUENCE_LENGTH
    recipe: str = "paper"
    epochs: int = EPOCHS
    seed: int = 1

    @property
    def id(self):
        if self.architecture in baselines.BASELINES:
            return f"{self.split}.{self.architecture}.s{self.seed}"
        return (f"{self.split}.{self.architecture}.{self.features}.{self.length}.{self.recipe}-{self.epochs}"
                f".s{self.seed}")

    @property
    def cost(self):
        """Of the whole run, in units that are the same for all: forward multiply-adds a flow of all epochs."""
        if self.architecture in baselines.BASELINES:
            return baselines.COST
        network = architectures.build(self.architecture, 150, self.length, FEATURE_SETS[self.features])
        return (architectures.multiply_adds(network) + train.COST_OF_A_FLOW) * self.epochs


def possible(run):
    """Whether every convolution finds a place."""
    try:
        return run.cost > 0
    except ValueError:
        return False


@dataclass
class Corpus:
    """The flows and what is computed of all of them."""

    flows: data.Flows
    catalogue: dict
    port_labels: dict  # level -> what the port table of all flows says
    frequent: dict  # level -> the labels of the one-vs-rest table

    @classmethod
    def of(cls, flows, catalogue):
        return cls(flows, catalogue, {level: table(flows) for level, table in ports.tables(flows).items()},
                   {level: evaluate.most_frequent(evaluate.truth(flows, level)) for level in ("service", "protocol")})


def recipe_digest(run):
    """Of all that decides the weights beside data, split and code; a baseline has its settings."""
    settings = baselines.SETTINGS if run.architecture in baselines.BASELINES else asdict(train.RECIPES[run.recipe])
    return settings_digest([asdict(run), settings])


def settings_digest(settings):
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def execute(run, corpus, work, device, say=print):
    """Trains and evaluates; the network too, where there is one."""
    flows = corpus.flows
    split = splits.make(run.split, flows)
    seen, held_out = flows[~split.held_out], flows[split.held_out]
    calibrating = None
    if run.recipe == "strangers" and run.split.startswith("by-repository"):
        part = data.validation_part(seen)
        seen, calibrating = seen[~part], seen[part]
    labels = data.vocabulary(seen)
    result = {"id": run.id, "run": asdict(run), "recipe_sha256": recipe_digest(run), "data_sha256": flows.digest(),
              "split_sha256": split.sha256, "code_sha256": code_digest(), "trained_on": len(seen),
              "labels": len(labels), "device": device.type}

    if run.architecture in baselines.BASELINES:
        answers, more = baselines.BASELINES[run.architecture](seen, held_out, labels, corpus.catalogue, run.seed)
        return {**result, **more, **figures(answers, held_out, labels, corpus, split.held_out)}, None

    seen, held_out = cut(seen, run.length), cut(held_out, run.length)
    trained = train.train(
        seen, labels, corpus.catalogue, architecture=run.architecture, knobs=train.RECIPES[run.recipe],
        epochs=run.epochs, seed=run.seed, length=run.length, columns=FEATURE_SETS[run.features], device=device,
        checkpoint=Path(work) / f"{run.id}.pt", watched=held_out if len(held_out) else None, say=say)
    result |= {"parameters": architectures.parameters(trained.network),
               "multiply_adds": architectures.multiply_adds(trained.network),
               "seconds": round(sum(row["seconds"] for row in trained.history), 1), "history": trained.history}
    temperature = 1.0
    if calibrating is not None:
        logits = train.logits_of(trained.network, calibrating.packets, "cpu")
        temperature = round(train.fit_temperature(logits, calibrating, labels, corpus.catalogue), 4)
        least = least_confidence(train.probabilities(logits, temperature), calibrating, labels, corpus.catalogue)
        result |= {"temperature": temperature, "min_confidence": least, "calibrated_on": len(calibrating)}
    if len(held_out):
        probability = train.probabilities(train.logits_of(trained.network, held_out.packets, "cpu"), temperature)
        answers = evaluate.answer(probability, labels, corpus.catalogue)
        result |= figures(answers, held_out, labels, corpus, split.held_out)
        if calibrating is not None:
            given = answers.confidence >= result["min_confidence"]
            right = answers.protocol == held_out.protocol
            result["answered"] = {"share": float(given.mean()), "accuracy": evaluate.mean(right[given])}
    return result, trained


def cut(flows, length):
    """The flows as they were after `length` packets."""
    packets = flows.packets.copy()
    packets[:, length:] = 0
    return data.Flows(**{**flows.__dict__, "packets": packets, "length": np.minimum(flows.length, length)})


def figures(answers, held_out, labels, corpus, chosen):
    """Everything that is said of the answers to the held-out flows, those `chosen` of the corpus."""
    return {
        "figures": {level: evaluate.evaluate(held_out, answers, labels, corpus.catalogue, level,
                                             corpus.port_labels[level][chosen]) for level in evaluate.LEVELS},
        "interval": evaluate.interval(held_out.protocol, answers.protocol, held_out.repo),
        "one_vs_rest": {level: evaluate.one_vs_rest(evaluate.truth(held_out, level), answers.level(level), names)
                        for level, names in corpus.frequent.items()},
        "by_protocol": by_protocol(answers, held_out),
    }


def by_protocol(answers, flows):
    """Flows, recall and precision of each protocol with enough flows, most frequent first."""
    names = [name for name in evaluate.most_frequent(flows.protocol, None)
             if (flows.protocol == name).sum() >= evaluate.MACRO_MIN_FLOWS]
    rows = evaluate.one_vs_rest(flows.protocol, answers.protocol, names)
    return [{"protocol": row["label"], "flows": row["flows"], "recall": row["recall"], "precision": row["precision"]}
            for row in rows]


def least_confidence(probability, flows, labels, catalogue):
    """The confidence below which answers become `unknown`: as high as it may be without losing more than one right
    answer in a hundred. What is below it is nearly always wrong; who wants surer answers asks for more in the policy.
    """
    answers = evaluate.answer(probability, labels, catalogue)
    return least(answers.confidence, answers.protocol == flows.protocol, train.weights(flows))


def least(confidence, right, weight):
    """The same of answers whose confidence, rightness and weight are known."""
    order = np.argsort(-confidence[right], kind="stable")
    kept = np.cumsum(weight[right][order])
    last = int(np.searchsorted(kept, RIGHT_ANSWERS_KEPT * kept[-1]))
    # Rounded down: the last answer that is meant to be given must not fall below.
    return math.floor(float(confidence[right][order][last]) * 1000) / 1000


def code_digest():
    """Of the modules that decide a result, so that a result says which code it is of."""
    digest = hashlib.sha256()
    for module in (data, ports, architectures, train, evaluate, splits, baselines):
        digest.update(Path(module.__file__).read_bytes())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()


def rounded(value, digits=5):
    """The same with floats cut to some digits: files stay small, and no one reads more."""
    if isinstance(value, float):
        return round(value, digits)
    if isinstance(value, dict):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item, digits) for item in value]
    return value
