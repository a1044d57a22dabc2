"""docs/study out of the results that are there: tables, and a plot beside each figure of the paper.

Nothing is trained or computed anew; what has no result yet is marked as missing. The words about what the figures mean
are in docs/study/README.md, which is written by people.
"""

import json
from pathlib import Path

import numpy as np

from . import architectures, baselines, catalogue, evaluate, paper, plots, runs, splits, study
from .card import paper_name
from .runs import Run

FOLDER = catalogue.MODELS.parent / "docs" / "study"
MISSING = "missing"
NOTE = "<!-- Written by `cargo xtask train report`; do not edit. -->"
FEATURE_NAMES = {"all": "all six", "no-time": "without time (set 1)", "no-ports": "DIR, PAYLOAD, TIME, WIN (set 2)",
                 "no-ports-no-time": "DIR, PAYLOAD, WIN (set 3)", "no-ports-no-window": "DIR, PAYLOAD, TIME (set 4)"}
PLAIN_NAMES = {"majority": "most frequent label", "port-table": "port table", "nearest-neighbour": "nearest neighbour",
               "random-forest": "random forest", "lightgbm": "LightGBM", "mlp": "MLP",
               "cnn-rnn-2a-wrong-reshape": "CNN+RNN-2a, wrong reshape"}
COLUMNS = ("accuracy", "weighted F1", "macro F1", "known", "off-port")
KEYS = ("accuracy", "weighted_f1", "macro_f1", "known_accuracy", "off_port_accuracy")


def write(folder, results, data_file):
    """Writes every page and plot and returns their paths."""
    folder = Path(folder)
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    facts = json.loads(Path(data_file).read_text(encoding="utf-8")) if Path(data_file).exists() else None
    pages = {"architectures.md": architecture_page, "one-vs-rest.md": one_vs_rest_page, "features.md": features_page,
             "packets.md": packets_page, "baselines.md": baseline_page, "strangers.md": strangers_page,
             "data.md": lambda results, plot: data_page(facts)}
    written = []
    for name, page in pages.items():
        def plot(title, draw, *arguments):
            path = folder / "plots" / f"{title}.svg"
            draw(path, *arguments)
            written.append(path)
            return f"![{title}](plots/{title}.svg)"

        path = folder / name
        path.write_text("\n\n".join([NOTE, *page(results, plot)]) + "\n", encoding="utf-8")
        written.append(path)
    return written


# -- cells -------------------------------------------------------------------------------------------------------------


def name_of(architecture):
    return PLAIN_NAMES.get(architecture) or paper_name(architecture)


def found(results, level="protocol", **what):
    """The figures of each seed of a run that has a result."""
    seeds = [results.get(Run(**what, seed=seed)) for seed in study.SEEDS]
    return [result["figures"][level] for result in seeds if result]


def cell(figures, key, digits=3):
    """The mean of the seeds and, of several, the largest distance of one from it."""
    values = [figure[key] for figure in figures]
    if not values:
        return MISSING
    if None in values:
        return "-"
    mean = float(np.mean(values))
    if len(values) == 1:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ± {max(abs(value - mean) for value in values):.{digits}f}"


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def state(wanted, results):
    done = sum(results.get(run) is not None for run in wanted)
    return f"{done} of the {len(wanted)} runs behind this page have a result."


def mean_of(figures, key):
    values = [figure[key] for figure in figures]
    return float(np.mean(values)) if values and None not in values else None


# -- pages -------------------------------------------------------------------------------------------------------------


def architecture_page(results, plot):
    """Figure 7."""
    wanted = [Run(name, split, seed=seed) for name in architectures.TABLE_I for split in study.TWO_SPLITS
              for seed in study.SEEDS]
    parts = ["# The nine architectures (the paper's figure 7)", state(wanted, results),
             f"Paper's recipe, {runs.EPOCHS} epochs on one cycle of the learning rate (the paper: {paper.EPOCHS}). "
             "Mean of the seeds; ± is the largest distance of a seed from it, and a figure without it is of one seed. "
             "*Known* leaves out flows whose label is not in the network's vocabulary, which else count as wrong; "
             "*off-port* are the known flows that the port table has wrong."]
    for split in study.TWO_SPLITS:
        for level in ("protocol", "service", "class"):
            rows = []
            for name in architectures.TABLE_I:
                figures = found(results, level, architecture=name, split=split)
                rows.append([name_of(name), *(cell(figures, key) for key in KEYS), len(figures)])
            rows += [[f"{name_of(study.FOUND)}, {study.LONG} epochs", *(cell(long, key) for key in KEYS), len(long)]
                     for long in [found(results, level, architecture=study.FOUND, split=split, epochs=study.LONG)]]
            if (split, level) == ("random", "protocol"):
                rows.append(["*paper*: CNN+RNN-2a, its own flows", paper.BEST["accuracy"], paper.BEST["weighted_f1"],
                             "-", "-", "-", "-"])
            parts += [f"## {split.capitalize()}, {level}", table(["network", *COLUMNS, "seeds"], rows)]
    series = {split: [mean_of(found(results, architecture=name, split=split), "weighted_f1")
                      for name in architectures.TABLE_I] for split in study.TWO_SPLITS}
    parts.append(plot("architectures", plots.bars, [name_of(name) for name in architectures.TABLE_I], series,
                      "weighted F1, protocol level", {"paper's CNN+RNN-2a": paper.BEST["weighted_f1"]}))
    parts += ["## Size and cost", size_table(results), "## How the loss fell", plot(
        "loss", plots.curves, {name_of(name): results.get(Run(name, "random")) for name in architectures.TABLE_I})]
    return parts


def size_table(results):
    rows = []
    for name in architectures.TABLE_I:
        network = architectures.build(name, 108)
        result = results.get(Run(name, "random"))
        rows.append([name_of(name), f"`{architectures.TABLE_I[name]}`", f"{architectures.parameters(network):,}",
                     f"{architectures.multiply_adds(network) / 1e6:.2f} M", architectures.minimum_packets(name),
                     f"{result['seconds'] / result['run']['epochs']:.1f}" if result else MISSING])
    return table(["network", "layers", "parameters (N = 108)", "multiply-adds a flow", "fewest packets",
                  "CPU seconds an epoch"], rows)


def one_vs_rest_page(results, plot):
    """Figure 8."""
    wanted = [Run(study.FOUND, split) for split in study.TWO_SPLITS]
    parts = ["# One against the rest (the paper's figure 8)", state(wanted, results),
             "Out of the multi-class answers of CNN+RNN-2a: each of the most frequent labels of the whole data against "
             f"all others. The paper: {paper.ONE_VS_REST}."]
    for split in study.TWO_SPLITS:
        result = results.get(Run(study.FOUND, split))
        for level in ("protocol", "service"):
            parts.append(f"## {split.capitalize()}, {level}")
            if not result:
                parts.append(MISSING)
                continue
            rows = result["one_vs_rest"][level]
            there = [row for row in rows if row["flows"]]
            parts.append(table(["label", "flows", "share", "accuracy", "precision", "recall", "F1"], [
                [row["label"], row["flows"], f"{row['share']:.2%}",
                 *("-" if row[key] is None else f"{row[key]:.3f}" for key in ("accuracy", "precision", "recall", "f1"))]
                for row in rows]))
            frequent = [row for row in there if row["share"] > 0.01]
            parts.append(f"Mean accuracy {np.mean([row['accuracy'] for row in there]):.4f} (paper "
                         f"{paper.ONE_VS_REST_MEAN_ACCURACY}), mean F1 {np.mean([row['f1'] for row in there]):.3f}. Of "
                         f"{len(frequent)} labels above 1%, {sum(row['accuracy'] > 0.98 for row in frequent)} have an "
                         f"accuracy above 0.98 and {sum(row['f1'] > 0.96 for row in frequent)} an F1 above 0.96.")
    series = {}
    for split in study.TWO_SPLITS:
        result = results.get(Run(study.FOUND, split))
        series[split] = {row["label"]: row["f1"] for row in result["one_vs_rest"]["protocol"]} if result else {}
    labels = next((list(values) for values in series.values() if values), [])
    parts.append(plot("one-vs-rest", plots.bars, labels,
                      {split: [values.get(label) for label in labels] for split, values in series.items()},
                      "one-vs-rest F1, protocol level", {"paper: every frequent label": 0.96}))
    return parts


def features_page(results, plot):
    """Table II."""
    wanted = [Run(study.FOUND, split, features=features) for split in study.TWO_SPLITS
              for features in runs.FEATURE_SETS]
    parts = ["# Feature sets (the paper's Table II)", state(wanted, results),
             "CNN+RNN-2a; a set that leaves features out has a narrower picture. Protocol level."]
    keys = (*paper.FIGURES, "macro_f1", "off_port_accuracy")
    for split in study.TWO_SPLITS:
        rows = []
        for features, title in FEATURE_NAMES.items():
            figures = found(results, architecture=study.FOUND, split=split, features=features)
            theirs = paper.FEATURES[features]
            rows.append([title, *(cell(figures, key) for key in keys),
                         f"{theirs['accuracy']:.4f}, {theirs['weighted_f1']:.4f}"])
        parts += [f"## {split.capitalize()}", table(
            ["features", "accuracy", "weighted F1", "precision", "recall", "macro F1", "off-port",
             "paper: accuracy, weighted F1"], rows)]
    series = {split: [mean_of(found(results, architecture=study.FOUND, split=split, features=features), "weighted_f1")
                      for features in FEATURE_NAMES] for split in study.TWO_SPLITS}
    series["paper, random"] = [paper.FEATURES[features]["weighted_f1"] for features in FEATURE_NAMES]
    parts.append(plot("features", plots.bars, list(FEATURE_NAMES.values()), series, "weighted F1, protocol level", {}))
    return parts


def packets_page(results, plot):
    """Figures 10 and 11."""
    wanted = [run for run in (Run(name, split, length=length) for name in study.SWEPT for split in study.TWO_SPLITS
                              for length in range(1, 21)) if runs.possible(run)]
    parts = ["# Packets per flow (the paper's figures 10 and 11)", state(wanted, results),
             f"Each point is a network that was trained, {runs.EPOCHS} epochs, on flows cut after so many packets. "
             "Weighted F1 at protocol level, macro F1 in brackets."]
    for name, figure in (("rnn-1", 10), ("cnn-rnn-2a", 11)):
        rows, series = [], {}
        lengths = range(architectures.minimum_packets(name), 21)
        for length in lengths:
            row = [length]
            for split in study.TWO_SPLITS:
                figures = found(results, architecture=name, split=split, length=length)
                series.setdefault(split, []).append(mean_of(figures, "weighted_f1"))
                row.append(f"{cell(figures, 'weighted_f1')} ({cell(figures, 'macro_f1')})" if figures else MISSING)
            rows.append(row)
        parts += [f"## {name_of(name)} (figure {figure})", f"The paper: {paper.PACKETS[name]}.",
                  table(["packets", *study.TWO_SPLITS], rows),
                  plot(f"packets-{name}", plots.lines, list(lengths), series, "packets", "weighted F1, protocol level")]
    return parts


def baseline_page(results, plot):
    names = (*baselines.BASELINES, *architectures.BASELINES, *study.HEADLINE)
    held_out = [name for name in splits.NAMES if name != "all"]
    wanted = [Run(name, split) for name in names for split in held_out]
    parts = ["# Baselines", state(wanted, results),
             "The same flows, features and vocabulary; `±` and `known` as on the page of the architectures. The "
             "interval is where 95 of 100 draws of the held-out repositories put the accuracy: errors come in blocks, "
             "one capture, one cause."]
    for split in held_out:
        rows = []
        for name in names:
            result = results.get(Run(name, split))
            interval = "{:.3f} to {:.3f}".format(*result["interval"]["accuracy"]) if result else MISSING
            figures = found(results, architecture=name, split=split)
            rows.append([name_of(name), *(cell(figures, key) for key in KEYS), interval])
        parts += [f"## {split.capitalize()}, protocol", table(["", *COLUMNS, "accuracy, 95%"], rows)]
    return parts


def strangers_page(results, plot):
    """The recipe of the networks that ship."""
    wanted = [Run(name, "by-repository", recipe="strangers") for name in architectures.TABLE_I]
    parts = ["# Trained for strangers", state(wanted, results),
             "By repository, the recipe of the bundles (`train.py`: flows changed as other networks would change them, "
             "repositories with equal voices, calibrated on repositories set aside) beside the paper's recipe. "
             "Protocol level."]
    rows = []
    for name in architectures.TABLE_I:
        plain = found(results, architecture=name, split="by-repository")
        result = results.get(wanted[list(architectures.TABLE_I).index(name)])
        mine = [result["figures"]["protocol"]] if result else []
        rows.append([name_of(name), cell(plain, "accuracy"), cell(plain, "macro_f1"), cell(plain, "ece"),
                     *(cell(mine, key) for key in ("accuracy", "macro_f1", "known_accuracy", "off_port_accuracy",
                                                   "coverage_90_accuracy", "unknown_auroc", "ece")),
                     f"{result['answered']['share']:.0%}, {result['answered']['accuracy']:.3f}" if result else MISSING])
    parts.append(table(["network", "paper's recipe: accuracy", "macro F1", "ECE", "for strangers: accuracy", "macro F1",
                        "known", "off-port", "surest 90%", "unknown AUROC", "ECE", "answered, right"], rows))
    return parts


def data_page(facts):
    parts = ["# The data: what repeats, what contradicts itself"]
    if facts is None:
        return [*parts, f"{MISSING}: `cargo xtask train redundancy` makes it."]
    parts.append(f"{facts['flows']:,} flows of {facts['captures']:,} captures and {facts['repositories']} "
                 f"repositories, {facts['services']} services of {facts['protocols']} protocols; digest "
                 f"`{facts['data_sha256']}`.")
    parts += ["## Splits", table(
        ["split", "held out", "labels in the vocabulary", "held-out flows whose service is in it"],
        [[name, f"{row['held_out']:,}", row["labels"], f"{row['known_service']:.1%}"]
         for name, row in facts["splits"].items()])]
    parts += ["## The same flow again",
              "Equal over the first 20 packets, their number and the protocol number. *Shape* is payload sizes and "
              "directions. *Conflicting* flows have an equal one with another label; the *attainable* accuracy is that "
              "of always giving the most frequent label of equal flows, which no model that sees no more can exceed "
              "on these data.",
              table(["equal in", "repeated", "random: seen in training", "by capture", "by repository",
                     "conflicting: service", "protocol", "attainable: service", "protocol", "class"],
                    [[name, f"{row['repeated']:.1%}", *(f"{share:.1%}" for share in row["seen_before"].values()),
                      *(f"{row['conflicting'][level]:.1%}" for level in ("service", "protocol")),
                      *(f"{row['attainable'][level]:.4f}" for level in evaluate.LEVELS)]
                     for name, row in facts["views"].items()])]
    parts += ["## Attainable by packets", "All features but time and the client's port.",
              table(["packets", *evaluate.LEVELS],
                    [[row["packets"], *(f"{row[level]:.4f}" for level in evaluate.LEVELS)]
                     for row in facts["attainable_by_length"]])]
    return parts
