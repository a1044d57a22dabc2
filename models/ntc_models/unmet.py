"""Implementations that a network has not met: generated flows of servers and clients that were left out of its training.

Of each service that several pairs of programs speak, one pair is left out. What a network trained on all other flows
says of these is what an operator with programs of his own can expect; above all on random ports, where behaviour is all
that there is.
"""

import hashlib
from collections import defaultdict
from dataclasses import replace

import numpy as np

from . import calibrate, evaluate, folds, learn

RANDOM = "random"  # first word of the names of captures on random ports


def left_out(more):
    """Which generated flows are of the one pair of each service, and which of these are of services with several.

    The first by digest: no choice of ours is in it. A pair that speaks two services is left out as a whole.
    """
    pairs = defaultdict(set)
    for service, pair in zip(more.service, more.repo):
        pairs[service].add(pair)
    several = {service for service, names in pairs.items() if len(names) > 1}
    chosen = {min(pairs[service], key=lambda name: hashlib.sha256(name.encode()).hexdigest()) for service in several}
    out = np.isin(more.repo.astype(str), sorted(chosen))
    return out, out & np.isin(more.service.astype(str), sorted(several))


def judge(corpus, workshop, fit, least):
    """Rows of kind of port, protocol (or all), flows, share that is right, and that is right and sure; calibrated by `fit`.

    `least` is the confidence from which an answer is given. Flows of protocols that the network knows.
    """
    recipe = folds.variant(folds.SHIPPED)
    labels = folds.vocabulary(corpus.flows, corpus.catalogue, recipe, workshop.more)
    out, judged = left_out(workshop.more)
    network = replace(workshop, more=workshop.more[~out]).network("all but one implementation of each", corpus.flows, labels,
                                                                  recipe, folds.SEEDS[0])
    flows, _ = learn.named(workshop.more[judged], labels, corpus.catalogue)
    answers = evaluate.answer(calibrate.probabilities(calibrate.say(network, flows.packets), *fit), labels, corpus.catalogue)
    right = answers.protocol == flows.protocol
    sure = right & (answers.confidence >= least)
    at_random = np.array([name.startswith(RANDOM) for name in flows.capture], dtype=bool)
    rows = []
    for kind, of_kind in (("standard", ~at_random), (RANDOM, at_random)):
        for name in ("all", *evaluate.most_frequent(flows.protocol[of_kind], None)):
            there = of_kind & ((flows.protocol == name) | (name == "all"))
            rows.append((kind, name, int(there.sum()), float(right[there].mean()), float(sure[there].mean())))
    return rows
