"""What each idea brings, by repository: `models/ablation/`, one small file a variant, and the table of all.

    variants    `folds.VARIANTS`: the recipe, and shorter ones without one of its ideas; and no trust fitted
    three seeds the mean of what three seeds say, and the figures of each
    baselines   the port table, LightGBM on the raw input, LightGBM started from the port prior
"""

import fnmatch
import json
from dataclasses import replace

import numpy as np

from . import baselines, calibrate, evaluate, folds, learn, runs, study
from .ports import CalledPorts, Prior

# -- knobs -------------------------------------------------------------------------------------------------------------
PRIOR_SHARE = 1.0  # of the log evidence from which LightGBM starts; 0.5 was worse
# LightGBM's own defaults diverge on so many rare labels (protocol accuracy 0.3).
STEADY = {"learning_rate": 0.05, "num_leaves": baselines.BOOSTING_LEAVES, "lambda_l2": baselines.BOOSTING_PENALTY,
          "min_sum_hessian_in_leaf": baselines.BOOSTING_WEIGHT}
DRAWS = 2000  # of repositories, in paired intervals
# ----------------------------------------------------------------------------------------------------------------------

THREE = "three seeds"
OFF_PORT, NO_PORTS = "off-port", "no-ports"  # beside the levels, of protocols


def names():
    return [*BASELINES, *folds.VARIANTS, folds.NO_TRUST, THREE]


def variant_of(name):
    return name if name in folds.VARIANTS else folds.DEFAULT


def file_of(name):
    return folds.FOLDER / f"{name.replace(', ', '-').replace(' ', '-')}.json"


def run(wanted, corpus, workshop):
    """Does the variants that have no result of this recipe, code and data yet."""
    catalogue, of_default = corpus.catalogue, None
    for name in names():
        if wanted and not any(fnmatch.fnmatch(name, pattern) for pattern in wanted):
            continue
        recipe, more = folds.variant(variant_of(name)), {}
        digest = runs.settings_digest([folds.code(calibrate), name, corpus.flows.digest(), folds.VARIANTS[folds.DEFAULT],
                                       folds.SEEDS, folds.VARIANTS.get(name),
                                       *[workshop.more.digest()] * bool(recipe.generated)])
        path = file_of(name)
        if path.exists() and json.loads(path.read_text(encoding="utf-8"))["digest"] == digest:
            continue
        share = folds.LEARNING_CURVE.get(name, 1.0)
        parts = [folds.Fold(split, corpus.flows, catalogue, recipe, workshop.more, share) for split in folds.SPLITS]
        table = folds.port_table(parts)
        if name in BASELINES:
            said = BASELINES[name](parts, catalogue)
            of_default = of_default or [
                folds.answers(folds.Crossed(recipe, seed, parts, workshop).probabilities, parts, catalogue, ("all", NO_PORTS))
                for seed in folds.SEEDS]
            more = {"default_above": lead(of_default, said, parts, catalogue)}
        else:
            seeds = folds.SEEDS if name == THREE else folds.SEEDS[:1]
            crossed = [folds.Crossed(recipe, seed, parts, workshop, name != folds.NO_TRUST) for seed in seeds]
            said = folds.answers(lambda place, asked: folds.mean_of(crossed, place, asked), parts, catalogue)
            more = {"trust": crossed[0].final[0].tolist(), "temperatures": crossed[0].final[1].tolist()}
        if name == THREE:
            more["seeds"] = [folds.mean_over_folds(folds.figures(folds.answers(one.probabilities, parts, catalogue), parts,
                                                                 catalogue)) for one in crossed]
        rows = folds.figures(said, parts, catalogue)
        result = {"variant": name, "changed": folds.VARIANTS.get(name, {}), "digest": digest,
                  "data_sha256": corpus.flows.digest(),
                  "repositories": [len(set(part.seen.repo)) for part in parts], **more,
                  "mean": folds.mean_over_folds(rows), "folds": rows,
                  "above_port_table": lead([said], table, parts, catalogue)}
        folds.FOLDER.mkdir(parents=True, exist_ok=True)
        path.write_text(study.dense(runs.rounded(result, 4)) + "\n", encoding="utf-8")
        one = result["mean"]["all"]["protocol"]
        workshop.say(f"{name}: protocol {one['accuracy']:.4f}, macro F1 {one['macro_f1']:.4f}, off-port "
                     f"{one['off_port_accuracy']:.4f}")


def lead(of_seeds, other, parts, catalogue, seed=0):
    """95% intervals of how much more of the flows is right than by `other`, repositories drawn anew; the mean of several seeds
    of one recipe, whose answers `of_seeds` are.
    """
    def interval(name="all", level="protocol", off_port_alone=False):
        wanted, theirs, repos, off_port, _ = folds.pooled(other, parts, catalogue, name, level)
        ours = [folds.pooled(said, parts, catalogue, name, level)[1] == wanted for said in of_seeds]
        chosen = off_port | (not off_port_alone)
        better = (np.mean(ours, 0) - (theirs == wanted))[chosen]
        _, group = np.unique(repos[chosen].astype(str), return_inverse=True)
        total, count = np.bincount(group, better), np.bincount(group)
        drawn = np.random.default_rng(seed).integers(len(count), size=(DRAWS, len(count)))
        low, high = np.percentile(total[drawn].sum(1) / count[drawn].sum(1), [2.5, 97.5])
        return [float(low), float(high)]

    found = {level: interval(level=level) for level in evaluate.LEVELS}
    found[OFF_PORT] = interval(off_port_alone=True)
    if all(NO_PORTS in said for said in (*of_seeds, other)):
        found[NO_PORTS] = interval(NO_PORTS)
    return found


def lightgbm(fold, catalogue, with_ports=True):
    seen, held_out = (flows if with_ports else replace(flows, packets=learn.without_ports(flows.packets))
                      for flows in (fold.seen, fold.held_out))
    return baselines.BASELINES["lightgbm"](seen, held_out, fold.labels, catalogue, 1)[0]


def lightgbm_prior(fold, catalogue):
    """Boosting that begins at the log evidence of the ports, each flow's without its own repository."""
    import lightgbm

    voters = CalledPorts(fold.seen)
    prior = Prior(fold.seen, fold.labels, voters)
    index = {label: place for place, label in enumerate(fold.labels)}
    known = np.isin(fold.seen.service.astype(str), fold.labels)
    seen = fold.seen[known]
    evidence, summary = prior.without_own(seen)
    rows = prior.row[prior.keys(fold.held_out)].astype(int)

    def columns(flows, summary):
        behaviour = baselines.columns(flows).reshape(len(flows), -1, flows.packets.shape[2])[:, :, 2:]
        return np.concatenate([behaviour.reshape(len(flows), -1), summary], 1)

    data = lightgbm.Dataset(columns(seen, summary), np.array([index[name] for name in seen.service]),
                            init_score=(PRIOR_SHARE * evidence).ravel(order="F"), weight=folds.train.weights(seen))
    booster = lightgbm.train({"objective": "multiclass", "num_class": len(fold.labels), "seed": 1, "num_threads": 1,
                              "deterministic": True, "force_row_wise": True, "verbose": -1, **STEADY},
                             data, baselines.BOOSTING_ROUNDS)
    raw = booster.predict(columns(fold.held_out, prior.summary[rows]), raw_score=True, num_threads=1)
    raw = raw + PRIOR_SHARE * prior.log_evidence[rows]
    raw = np.exp(raw - raw.max(1, keepdims=True))
    return evaluate.answer((raw / raw.sum(1, keepdims=True)).astype(np.float32), fold.labels, catalogue)


BASELINES = {
    "port-table": lambda parts, catalogue: folds.port_table(parts),
    "lightgbm": lambda parts, catalogue: {"all": [lightgbm(fold, catalogue) for fold in parts],
                                          NO_PORTS: [lightgbm(fold, catalogue, with_ports=False) for fold in parts]},
    "lightgbm-prior": lambda parts, catalogue: {"all": [lightgbm_prior(fold, catalogue) for fold in parts]},
}
