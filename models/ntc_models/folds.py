"""`residual-prior` by repository: five networks, each judged on the fifth of the repositories that it has not seen.

Trust and temperatures of a fold are fitted on the other four folds' held-out flows. A variant of the recipe is one
small file in `models/ablation/`, beside the baselines on the same flows; `ntc_models ablation` does those that are
missing.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from . import augment, calibrate, data, evaluate, learn, ports, residual, runs, splits, train
from .catalogue import MIN_FLOWS, MODELS, unnamed
from .data import FOLDS

# -- knobs -------------------------------------------------------------------------------------------------------------
PREFIXES = (1, 3, 5, 10)  # packets, beside 20
CALIBRATED_ON = ("all", "no-ports", "other-port", *(f"first-{count}" for count in PREFIXES))
DEFAULT = "recipe"  # by which the default is judged and calibrated
SHIPPED = "rare services too"  # by which the network that ships is trained
SMALL = "small"
SMALL_SHIPPED = "small, rare services too"
SEEDS = (1, 2, 3)  # the first is the default's
# The recipe, and what is changed in it.
FREQUENT = {"confirmed": MIN_FLOWS}
LONG = {"epochs": 60, "generated": 0.15}
TWO = {"members": 2}
WIDE = {**FREQUENT, "shape": "wide"}
SHORT = {**WIDE, "epochs": 15}
VARIANTS = {
    "recipe": {**FREQUENT, **LONG, **TWO, "near": True},
    "rare services too": {**LONG, **TWO, "near": True},
    "small": {**FREQUENT, **LONG, "near": True, "shape": "small"},
    "small, rare services too": {**LONG, "near": True, "shape": "small"},
    # To be compared with those beside it.
    "two networks, nothing near": {**FREQUENT, **LONG, **TWO},
    "one network, nothing near": {**FREQUENT, **LONG},
    "one wider network, nothing near": {**WIDE, **LONG},
    # One wider network each, with nothing of what is near.
    "60 epochs": {**WIDE, "epochs": 60},
    "30 epochs": {**WIDE, "epochs": 30},
    "30 epochs, taught": {**WIDE, "epochs": 30, "taught": 1.0},
    "15 epochs": SHORT,
    "15 epochs, no behaviour loss": {**SHORT, "behaviour_share": 0.0},
    "15 epochs, no silent ports": {**SHORT, "silent": 0.0},
    "15 epochs, no wrong ports": {**SHORT, "wrong": 0.0},
    "15 epochs, no augmentation": {**SHORT, "gaps": 0.0, "window": 0.0, "payload": 0.0, "segments": 0.0, "late_start": 0.0,
                                   "flipped": 0.0, "no_window": 0.0},
    "15 epochs, no prefixes": {**SHORT, "prefix": 0.0},
    "15 epochs, no smoothing": {**SHORT, "smoothing": 0.0},
    "15 epochs, no labels for the unnamed": {**SHORT, "unnamed": False},
    "15 epochs, recurrent": {**SHORT, "shape": "recurrent"},
    "15 epochs, pulled together": {**SHORT, "pull": 0.2},
    "15 epochs, pretrained": {**SHORT, "pretraining": 800},
    "15 epochs, generated traffic": {**SHORT, "generated": LONG["generated"]},
}
# On so many of the repositories that are not held out: what would more of them bring?
LEARNING_CURVE = {"15 epochs, a quarter of the repositories": 0.25, "15 epochs, half of the repositories": 0.5}
VARIANTS |= dict.fromkeys(LEARNING_CURVE, SHORT)
NO_TRUST = "no trust fitted"
# ----------------------------------------------------------------------------------------------------------------------

FOLDER = MODELS / "ablation"
SPLITS = ("by-repository", *(f"by-repository-{fold}" for fold in range(1, FOLDS)))


def vocabulary(flows, catalogue, recipe, more=None):
    """The services that a network of these flows knows, most frequent first, and its labels for the rest.

    Beside those with `MIN_FLOWS`, those with fewer that two repositories or families have: their ports are evidence,
    where their behaviour is too rare to learn. One repository's rare service would be learnt by heart; `more`, of
    which a recipe may draw, is a source as well.
    """
    sources = defaultdict(set)
    for service, repo in zip(flows.service, flows.repo):
        sources[service].add(data.group_of(repo))
    for service in more.service if recipe.generated else ():
        sources[service].add(None)
    frequent = set(data.vocabulary(flows))
    named = [label for label in data.vocabulary(flows, min(recipe.confirmed, MIN_FLOWS))
             if label in frequent or (label in catalogue and len(sources[label]) > 1)]
    protocols = {catalogue[label].protocol for label in named}
    rest = Counter(name for name, protocol in zip(flows.traffic_class, flows.protocol) if protocol not in protocols)
    return named + [unnamed(name) for name in sorted(rest) if recipe.unnamed and rest[name] >= MIN_FLOWS]


def some_of(flows, share):
    """The flows of so many of the repositories, in the order of their digests: no choice of ours is in it."""
    groups = np.array([data.group_of(repo) for repo in flows.repo], dtype=object)
    order = sorted(set(groups), key=lambda name: hashlib.sha256(name.encode()).digest())
    taken = order[: round(share * len(order))]
    return flows[np.isin(groups.astype(str), taken)]


class Fold:
    """One fold: the flows seen, which are `share` of the repositories that are not held out, those held out, and what the
    port table of all that are not says of them: the same flows are off-port whatever is seen.
    """

    def __init__(self, name, flows, catalogue, recipe, more=None, share=1.0):
        held_out = splits.make(name, flows).held_out
        others = flows[~held_out]
        self.name, self.seen, self.held_out = name, some_of(others, share), flows[held_out]
        self.labels = vocabulary(self.seen, catalogue, recipe, more)
        tables = ports.tables(others)
        self.port_labels = {level: table(self.held_out) for level, table in tables.items()}
        self.port_confidence = tables["protocol"].confidence(self.held_out)

    def known(self, catalogue, level):
        """Which of the held-out flows have a label that the networks know."""
        names = evaluate.vocabularies(self.labels, catalogue)[level]
        return np.isin(evaluate.truth(self.held_out, level).astype(str), sorted(names))

    def asked(self):
        """The held-out flows as they are, without ports, on a random server port, and cut short."""
        packets = self.held_out.packets
        asked = {"all": packets, "no-ports": learn.without_ports(packets)}
        other = torch.as_tensor(packets.copy())
        server_is_dst = torch.as_tensor(ports.PortEvidence(self.seen).server_is_dst(self.held_out))
        augment.replace_port(other, server_is_dst, torch.ones(len(other), dtype=torch.bool),
                             torch.Generator().manual_seed(0), ephemeral_only=False)
        asked["other-port"] = other.numpy()
        for count in PREFIXES:
            asked[f"first-{count}"] = runs.cut(self.held_out, count).packets
        return asked


@dataclass
class Workshop:
    """Where networks are trained and kept."""

    catalogue: dict
    work: Path
    say: Callable = print
    more: data.Flows | None = None  # flows of other origin, for recipes that want them
    device: str = "cpu"

    def network(self, name, flows, labels, recipe, seed):
        """The recipe's networks of these flows, as one."""
        first, alone = 1 + (seed - 1) * recipe.members, replace(recipe, members=1)
        return residual.together([self.member(name, flows, labels, alone, first + place) for place in range(recipe.members)])

    def member(self, name, flows, labels, recipe, seed):
        """A network of these flows, from its file if it was trained already."""
        more = self.more if recipe.generated else None
        parts = [code(), flows.digest(), labels, asdict(recipe), seed, more.digest() if more else None]
        path = Path(self.work) / f"{runs.settings_digest(parts)}.pt"
        if path.exists():
            state = torch.load(path)
            network = residual.ResidualPrior(len(labels), len(state["ports.summary"]) - 1, residual.SHAPES[recipe.shape])
            network.load_state_dict(state)
            return network.eval()
        teachers = [self.member(f"{name}, teacher {of_seed}", flows, labels, replace(recipe, taught=0.0), of_seed)
                    for of_seed in SEEDS if recipe.taught]
        network = learn.learn(flows, labels, self.catalogue, recipe=recipe, seed=seed, more=more, teachers=teachers,
                              device=self.device, say=lambda text: self.say(f"{name}, seed {seed}: {text}"))
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(network.state_dict(), path)
        return network


def code(*more):
    """Of the modules that decide a network's weights, and of others."""
    return hashlib.sha256(b"".join(Path(module.__file__).read_bytes()
                                   for module in (augment, data, learn, ports, residual, train, *more))).hexdigest()


class Crossed:
    """What the five networks said of the flows that each had not seen; calibrated across folds."""

    def __init__(self, recipe, seed, folds, workshop, with_trust=True):
        self.folds, self.said, parts = folds, [], []
        for fold in folds:
            network = workshop.network(fold.name, fold.seen, fold.labels, recipe, seed)
            said = {name: calibrate.say(network, packets) for name, packets in fold.asked().items()}
            self.said.append(said)
            parts.append([calibrate.HeldOut.of(said[name], fold.held_out, fold.labels, workshop.catalogue)
                          for name in CALIBRATED_ON])
        self.fits = [calibrate.fit([part for other, of in enumerate(parts) if other != place for part in of], with_trust)
                     for place in range(len(folds))]
        self.final = calibrate.fit([part for of in parts for part in of], with_trust)

    def probabilities(self, place, name):
        return calibrate.probabilities(self.said[place][name], *self.fits[place])


def mean_of(crossed, place, name):
    return sum(one.probabilities(place, name) for one in crossed) / len(crossed)


def answers(probabilities, folds, catalogue, names=("all", "no-ports", "other-port",
                                                    *(f"first-{count}" for count in PREFIXES))):
    """name -> answers of each fold."""
    return {name: [evaluate.answer(probabilities(place, name), fold.labels, catalogue)
                   for place, fold in enumerate(folds)] for name in names}


def figures(said, folds, catalogue):
    """Per fold, on flows whose label the model could have given; the calibration error and the rest of protocols."""
    rows = []
    for place, fold in enumerate(folds):
        flows, row = fold.held_out, {"fold": fold.name, "flows": len(fold.held_out)}
        for name, of_fold in said.items():
            one = of_fold[place]
            found = {}
            for level in evaluate.LEVELS if name == "all" else ("protocol",):
                known = fold.known(catalogue, level)
                on_known = evaluate.evaluate(flows[known], subset(one, known), fold.labels, catalogue, level,
                                             fold.port_labels[level][known])
                found[level] = {key: on_known[key] for key in ("known_flows", "accuracy", "macro_f1", "off_port_flows",
                                                               "off_port_accuracy", "ece", "coverage_90_accuracy")}
                if level == "protocol":
                    found[level]["unknown_auroc"] = evaluate.area_under_roc(known, one.confidence)
            row[name] = found
        rows.append(row)
    return rows


def subset(answers, chosen):
    return evaluate.Answers(answers.service[chosen], answers.protocol[chosen], answers.traffic_class[chosen],
                            answers.confidence[chosen], answers.service_confidence[chosen])


def pooled(said, folds, catalogue, name="all", level="protocol"):
    """Truth, answer, repository, off-port and confidence of all folds' known flows, for intervals over repositories."""
    parts = []
    for place, fold in enumerate(folds):
        wanted, known = evaluate.truth(fold.held_out, level), fold.known(catalogue, level)
        parts.append((wanted[known], said[name][place].level(level)[known], fold.held_out.repo[known],
                      (fold.port_labels[level] != wanted)[known], said[name][place].confidence[known]))
    return [np.concatenate(columns) for columns in zip(*parts)]


def mean_over_folds(rows):
    """The mean of every figure over the folds."""
    def mean(values):
        if isinstance(values[0], dict):
            return {key: mean([value[key] for value in values]) for key in values[0]}
        there = [value for value in values if value is not None]
        return float(np.mean(there)) if there else None

    return mean([{key: value for key, value in row.items() if isinstance(value, dict)} for row in rows])


def variant(name):
    return replace(learn.Recipe(), **VARIANTS[name])


def port_table(folds):
    """The baseline's answers, in the form of `answers`; None where the table is silent."""
    found = []
    for fold in folds:
        labels = (fold.port_labels[level] for level in evaluate.LEVELS)
        found.append(evaluate.Answers(*labels, fold.port_confidence, fold.port_confidence))
    return {"all": found}


def by_protocol(wanted, guess):
    """Flows, recall and precision of each protocol with enough flows, over all folds."""
    names = [name for name in evaluate.most_frequent(wanted, None) if (wanted == name).sum() >= evaluate.MACRO_MIN_FLOWS]
    return [{"protocol": row["label"], "flows": row["flows"], "recall": row["recall"], "precision": row["precision"]}
            for row in evaluate.one_vs_rest(wanted, guess, names)]
