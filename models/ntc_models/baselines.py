"""What a network has to beat: no learning at all, what the port says, the nearest flow, and trees.

Each takes (seen, held out, labels, catalogue, seed) and gives answers. Those that learn see what the networks see: the
raw 20 x 6, here as 120 columns, and the services of the vocabulary.
"""

import time

import numpy as np

from . import evaluate, ports

# -- knobs -------------------------------------------------------------------------------------------------------------
NEIGHBOURS = 1
TREES = 100
BOOSTING_ROUNDS = 60
BOOSTING_LEAVES = 15
BOOSTING_RATE, BOOSTING_WEIGHT, BOOSTING_PENALTY = 0.1, 5.0, 10.0
COST = 1e8  # beside `runs.Run.cost`: about a minute
# ----------------------------------------------------------------------------------------------------------------------
SETTINGS = [NEIGHBOURS, TREES, BOOSTING_ROUNDS, BOOSTING_LEAVES, BOOSTING_RATE, BOOSTING_WEIGHT, BOOSTING_PENALTY]


def majority(seen, held_out, labels, catalogue, seed):
    """The most frequent label of each level."""
    often = {level: evaluate.most_frequent(evaluate.truth(seen, level), 1)[0] for level in evaluate.LEVELS}
    share = {level: float((evaluate.truth(seen, level) == often[level]).mean()) for level in evaluate.LEVELS}
    return evaluate.Answers(*(np.full(len(held_out), often[level], dtype=object) for level in evaluate.LEVELS),
                            np.full(len(held_out), share["protocol"]), np.full(len(held_out), share["service"])), {}


def port_table(seen, held_out, labels, catalogue, seed):
    """The port table of the seen flows at each level; where it is silent the answer is none, and wrong."""
    by_level = ports.tables(seen)
    return evaluate.Answers(*(by_level[level](held_out) for level in evaluate.LEVELS),
                            by_level["protocol"].confidence(held_out), by_level["service"].confidence(held_out)), {}


def columns(flows):
    """The raw 20 x 6 as 120 columns; sizes and gaps are logarithmic so that distances mean something."""
    packets = flows.packets.astype(np.float32).copy()
    packets[:, :, 2:5] = np.log1p(packets[:, :, 2:5])
    return packets.reshape(len(packets), -1)


def learned(make, scaled=False):
    def run(seen, held_out, labels, catalogue, seed):
        index = {label: place for place, label in enumerate(labels)}
        known = np.isin(seen.service.astype(str), labels)
        x, y = columns(seen)[known], np.array([index[name] for name in seen.service[known]])
        asked = columns(held_out)
        if scaled:
            mean, std = x.mean(0), x.std(0).clip(1e-6)
            x, asked = (x - mean) / std, (asked - mean) / std
        begin = time.process_time()
        model = make(seed).fit(x, y)
        seconds = time.process_time() - begin
        probability = np.zeros((len(asked), len(labels)), dtype=np.float32)
        probability[:, model.classes_] = model.predict_proba(asked)
        return evaluate.answer(probability, labels, catalogue), {"seconds": round(seconds, 1)}

    return run


def nearest(seed):
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(NEIGHBOURS, metric="manhattan", algorithm="brute")


def forest(seed):
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(TREES, random_state=seed, n_jobs=1)


def boosted(seed):
    from lightgbm import LGBMClassifier

    # LightGBM's own defaults diverge on so many rare labels: leaves need some weight, and steps to be short.
    return LGBMClassifier(n_estimators=BOOSTING_ROUNDS, num_leaves=BOOSTING_LEAVES, learning_rate=BOOSTING_RATE,
                          min_child_weight=BOOSTING_WEIGHT, reg_lambda=BOOSTING_PENALTY, random_state=seed, n_jobs=1,
                          deterministic=True, force_row_wise=True, verbose=-1)


BASELINES = {
    "majority": majority,
    "port-table": port_table,
    "nearest-neighbour": learned(nearest, scaled=True),
    "random-forest": learned(forest),
    "lightgbm": learned(boosted),
}
