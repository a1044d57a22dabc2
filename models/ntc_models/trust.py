"""docs/model: when to believe the default model, measured on repositories that its networks have not seen.

Tables and plots out of the five folds by repository (`folds`), whose networks are taken from the work folder or
trained; the words about them are in docs/model.md, which is written by people.
"""

import json
from collections import Counter, defaultdict

import numpy as np
import torch

from . import ablation, augment, calibrate, evaluate, folds, plots, report, runs, train, unmet
from .catalogue import MODELS
from .data import DIRECTION, GAP, PAYLOAD, SEQUENCE_LENGTH, WINDOW

# -- knobs -------------------------------------------------------------------------------------------------------------
BINS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1.0)  # of confidence
CONFUSIONS = 15
ROUND_TRIPS = (0.25, 4.0)  # all gaps times
LOSS = 0.05  # of the packets
MERGED_WITHIN_US = 100  # of each other: about what one poll of a network card brings
MERGED_BYTES = 65_535 - 60  # with headers, a packet's length has 16 bits
# ----------------------------------------------------------------------------------------------------------------------

FOLDER = MODELS.parent / "docs" / "model"
NOTE = "<!-- Written by `cargo xtask train trust`; do not edit. -->"
ASKED = {"all": "20 packets", **{f"first-{count}": f"{count} packets" if count > 1 else "1 packet"
                                 for count in folds.PREFIXES}, "no-ports": "without ports",
         "other-port": "server on a random port"}


def disturbed(packets):
    """The held-out flows as other paths would show them."""
    def torch_of(change):
        return change(torch.as_tensor(packets.copy()), torch.Generator().manual_seed(0)).numpy()

    every = torch.ones(len(packets), dtype=torch.bool)
    found = {}
    for factor in ROUND_TRIPS:
        found[f"gaps x {factor:g}"] = packets.copy()
        found[f"gaps x {factor:g}"][:, :, GAP] *= factor
    found["smaller segments"] = torch_of(lambda value, generator: augment.cut_segments(value, every, generator))
    found["first 1 to 3 packets missed"] = torch_of(lambda value, generator: augment.start_late(value, every, generator))
    found[f"{LOSS:.0%} of packets lost"] = lose(packets)
    found["segments merged (GRO)"] = merge(packets)
    found["only what was sent first"] = one_way(packets, 0)
    found["only what was answered"] = one_way(packets, 1)
    return found


def lose(packets, share=LOSS, seed=0):
    """Packets after the first are lost."""
    kept = np.random.default_rng(seed).random(packets.shape[:2]) >= share
    kept[:, 0] = True
    return keep(packets, kept)


def one_way(packets, direction):
    """What one of two paths carries where the other direction takes another; flows that have nothing of it stay."""
    wanted = packets[:, :, DIRECTION] == direction
    there = (wanted & augment.real_packets(packets)).any(1)
    found = keep(packets, wanted | ~there[:, None])
    found[there, :, DIRECTION] = 0
    return found


def keep(packets, kept):
    """The packets that are kept; the gaps of others go to the next."""
    found = np.zeros_like(packets)
    for flow, chosen, result in zip(packets, kept & augment.real_packets(packets), found):
        begun = np.cumsum(flow[:, GAP], dtype=np.float64)[chosen]
        result[: len(begun)] = flow[chosen]
        result[: len(begun), GAP] = np.diff(begun, prepend=begun[:1])
    return found


def merge(packets):
    """As generic receive offload gives them to a hook behind it (net/ipv4/tcp_offload.c, tcp_gro_receive): data of one
    direction and window becomes one packet, at the time of its first segment, until a segment is smaller than that. What
    followed the 20 packets is not known, so merged flows are short of some.
    """
    found = np.zeros_like(packets)
    for flow, result in zip(packets, found):
        last, size, held = -1, 0.0, 0.0  # place of the packet that grows, its segments' size, time since it began
        for packet in flow[: np.flatnonzero(flow.any(1)).max(initial=-1) + 1]:
            held += packet[GAP]
            before = result[last]
            if (last >= 0 and before[WINDOW] > 0 and 0 < packet[PAYLOAD] <= size and packet[GAP] <= MERGED_WITHIN_US
                    and packet[[DIRECTION, WINDOW]].tolist() == before[[DIRECTION, WINDOW]].tolist()
                    and before[PAYLOAD] + packet[PAYLOAD] <= MERGED_BYTES):
                before[PAYLOAD] += packet[PAYLOAD]
                size = size if packet[PAYLOAD] == size else 0.0
                continue
            last += 1
            result[last] = packet
            result[last, GAP] = held
            size, held = packet[PAYLOAD], 0.0
    return found


def bins(right, confidence):
    """Share, mean confidence and accuracy of the answers in each bin of confidence."""
    place = np.clip(np.digitize(confidence, BINS) - 1, 0, len(BINS) - 2)
    rows = []
    for number in range(len(BINS) - 1):
        there = place == number
        if there.any():
            rows.append({"from": BINS[number], "to": BINS[number + 1], "share": float(there.mean()),
                         "confidence": float(confidence[there].mean()), "accuracy": float(right[there].mean())})
    return rows


def write(corpus, workshop):
    catalogue, recipe = corpus.catalogue, folds.variant(folds.DEFAULT)
    parts = [folds.Fold(split, corpus.flows, catalogue, recipe, workshop.more) for split in folds.SPLITS]
    crossed = folds.Crossed(recipe, folds.SEEDS[0], parts, workshop)
    said = folds.answers(crossed.probabilities, parts, catalogue)
    said |= other_paths(crossed, parts, recipe, workshop)
    pooled = {name: folds.pooled(said, parts, catalogue, name) for name in said}
    (FOLDER / "plots").mkdir(parents=True, exist_ok=True)
    written, found = [], results()

    def plot(title, draw, *arguments):
        written.append(FOLDER / "plots" / f"{title}.svg")
        draw(written[-1], *arguments)
        return f"![{title}](plots/{title}.svg)"

    wanted, guess, repos, off_port, confidence = pooled["all"]
    right = wanted == guess
    states = {"all flows": (right, confidence), "off-port": (right[off_port], confidence[off_port]),
              "1 packet": right_and_confidence(pooled["first-1"]),
              "without ports": right_and_confidence(pooled["no-ports"])}
    pages = [NOTE, "# When to believe the default model: the figures",
             "Protocol level, all five folds by repository together: every flow is answered by networks that have not "
             "seen its repository. Flows whose label the networks know.",
             "## By confidence", plot("reliability", reliability, states), confidence_table(states),
             "## By coverage", "Accuracy of the surest answers, by the share of flows that they are.",
             plot("coverage", coverage, states),
             "## By number of packets and by ports", packets_table(pooled),
             plot("packets", plots.lines, [*folds.PREFIXES, SEQUENCE_LENGTH],
                  {"all flows": [accuracy(pooled[name]) for name in BY_PACKETS],
                   "off-port": [accuracy(pooled[name], True) for name in BY_PACKETS]},
                  "packets seen", "accuracy, protocol level"),
             "## Other paths", paths_table(pooled),
             "## Other implementations", *of_unmet(corpus, workshop, crossed.final, runs.least(
                 confidence, right, train.pair_weights(repos, wanted))),
             "## What it confuses", confusions(wanted, guess, repos, off_port),
             "## By class", "With a name: flows of a protocol that the answering network has a name for. Of others it can only know "
             "what the class's traffic is like.", class_table(said, parts, catalogue),
             "## By fold", fold_table(said, parts, catalogue),
             "## What each idea brings",
             "Means of the folds, one seed. The recipe is the mean of two networks, and goes by what is near a port. The rows of 60 "
             "epochs and fewer, and of shares of the repositories, are one wider network each, to be compared with each other. In "
             "these and in `one wider network` clients' ports still had a voice in which end serves.",
             ablation_table(found), *beside_baselines(found), *learning_curve(found),
             *of_seeds(found)]
    path = FOLDER / "figures.md"
    path.write_text("\n\n".join(pages) + "\n", encoding="utf-8")
    return [*written, path]


def other_paths(crossed, parts, recipe, workshop):
    """Answers to flows as other paths would show them."""
    found = defaultdict(list)
    for place, fold in enumerate(parts):
        network = workshop.network(fold.name, fold.seen, fold.labels, recipe, folds.SEEDS[0])
        for name, packets in disturbed(fold.held_out.packets).items():
            probability = calibrate.probabilities(calibrate.say(network, packets), *crossed.fits[place])
            found[name].append(evaluate.answer(probability, fold.labels, workshop.catalogue))
    return dict(found)


BY_PACKETS = [*(f"first-{count}" for count in folds.PREFIXES), "all"]


def right_and_confidence(columns):
    return columns[0] == columns[1], columns[4]


def accuracy(columns, off_port=False):
    right = columns[0] == columns[1]
    return evaluate.mean(right[columns[3]] if off_port else right)


def reliability(path, states):
    figure, axes = plots.pyplot.subplots(figsize=(4.6, 4.2))
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1)
    for place, (name, (right, confidence)) in enumerate(states.items()):
        parts = [part for part in np.array_split(np.argsort(confidence, kind="stable"), 15) if len(part)]
        axes.plot([confidence[part].mean() for part in parts], [right[part].mean() for part in parts], "o-",
                  markersize=3, color=plots.COLOURS[place], label=name)
    axes.set_xlabel("confidence")
    axes.set_ylabel("share that is right")
    axes.legend(fontsize=8)
    plots.save(figure, path)


def coverage(path, states):
    figure, axes = plots.pyplot.subplots(figsize=(6, 3.6))
    for place, (name, (right, confidence)) in enumerate(states.items()):
        share = np.arange(1, len(right) + 1) / len(right)
        surest = np.cumsum(right[np.argsort(-confidence, kind="stable")]) / np.arange(1, len(right) + 1)
        shown = np.unique(np.linspace(len(right) * 0.02, len(right) - 1, 200).astype(int))
        axes.plot(share[shown], surest[shown], color=plots.COLOURS[place], label=name)
    axes.set_ylim(0.5, 1.005)
    axes.set_xlabel("share of flows answered, surest first")
    axes.set_ylabel("share of these that is right")
    axes.legend(fontsize=8)
    plots.save(figure, path)


def confidence_table(states):
    found = {name: {row["from"]: row for row in bins(*state)} for name, state in states.items()}
    rows = [[f"{low:g} to {high:g}", *(f"{found[name][low]['share']:.1%}: {found[name][low]['accuracy']:.3f}"
                                       if low in found[name] else "-" for name in states)]
            for low, high in zip(BINS, BINS[1:])]
    return "Share of the flows: accuracy.\n\n" + report.table(["confidence", *states], rows)


def packets_table(pooled):
    rows = []
    for name, title in ASKED.items():
        wanted, guess, repos, off_port, confidence = pooled[name]
        right = wanted == guess
        surest = np.argsort(-confidence, kind="stable")[: int(0.9 * len(right))]
        rows.append([title, f"{right.mean():.3f}", f"{evaluate.scores(wanted, guess)['macro_f1']:.3f}",
                     f"{right[off_port].mean():.3f}", f"{evaluate.calibration_error(right, confidence):.3f}",
                     f"{right[surest].mean():.3f}"])
    return report.table(["asked with", "accuracy", "macro F1", "off-port", "calibration error", "surest 90%"], rows)


def paths_table(pooled):
    rows = [[name, f"{accuracy(columns):.3f}", f"{evaluate.scores(columns[0], columns[1])['macro_f1']:.3f}",
             f"{accuracy(columns, True):.3f}"]
            for name, columns in pooled.items() if name == "all" or name not in ASKED]
    return report.table(["flows", "accuracy", "macro F1", "off-port"], rows)


def of_unmet(corpus, workshop, fit, least):
    """Programs that the network has not met."""
    rows = [[f"{kind} ports", name, flows, f"{right:.3f}", f"{sure:.3f}"]
            for kind, name, flows, right, sure in unmet.judge(corpus, workshop, fit, least)]
    return ["Generated flows of one pair of programs of each service that several speak, by a network trained on all others; "
            f"answers below a confidence of {least:.3f} are not given.",
            report.table(["on", "protocol", "flows", "right", "right and given"], rows)]


def confusions(wanted, guess, repos, off_port):
    wrong = wanted != guess
    counts = Counter(zip(wanted[wrong], guess[wrong]))
    rows = []
    for (label, said), count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:CONFUSIONS]:
        there = wrong & (wanted == label) & (guess == said)
        rows.append([label, said, count, f"{count / (wanted == label).sum():.1%}", len(set(repos[there])),
                     f"{off_port[there].mean():.0%}"])
    return report.table(["is", "answer", "flows", "of its flows", "repositories", "off-port"], rows)


def class_table(said, parts, catalogue):
    wanted, guess, *_ = folds.pooled(said, parts, catalogue, level="class")
    named = [part.known(catalogue, "protocol")[part.known(catalogue, "class")] for part in parts]
    named, right = np.concatenate(named), wanted == guess

    def share(chosen):
        return f"{right[chosen].mean():.3f} of {chosen.sum()}" if chosen.any() else "-"

    rows = [[row["label"], row["flows"], *(f"{row[key]:.3f}" for key in ("precision", "recall", "f1")),
             share((wanted == row["label"]) & named), share((wanted == row["label"]) & ~named)]
            for row in evaluate.one_vs_rest(wanted, guess, evaluate.most_frequent(wanted, None))]
    rows.append(["all", len(wanted), "", f"{right.mean():.3f}", "", share(named), share(~named)])
    return report.table(["class", "flows", "precision", "recall", "F1", "right with a name", "without"], rows)


def fold_table(said, parts, catalogue):
    rows = []
    ours, table = folds.figures({"all": said["all"], "no-ports": said["no-ports"]}, parts, catalogue), folds.figures(
        folds.port_table(parts), parts, catalogue)
    for place, (net, of_table) in enumerate(zip(ours, table)):
        one, other = net["all"]["protocol"], of_table["all"]["protocol"]
        rows.append([place, len(set(parts[place].held_out.repo)), one["known_flows"],
                     f"{one['accuracy']:.3f}, {one['macro_f1']:.3f}", f"{other['accuracy']:.3f}, {other['macro_f1']:.3f}",
                     f"{one['off_port_accuracy']:.3f} of {one['off_port_flows']}",
                     f"{net['no-ports']['protocol']['accuracy']:.3f}"])
    return report.table(["fold", "repositories", "flows", "accuracy, macro F1", "port table", "off-port",
                         "without ports"], rows)


def results():
    """Of every variant that has one, in the order of the variants."""
    paths = {name: ablation.file_of(name) for name in ablation.names()}
    return {name: json.loads(path.read_text(encoding="utf-8")) for name, path in paths.items() if path.exists()}


def beside_baselines(found):
    """How far the recipe is above each baseline, three seeds of it together."""
    rows = [[name, *("{:+.3f} to {:+.3f}".format(*result["default_above"][what]) if what in result["default_above"] else "-"
                     for what in ("protocol", "service", "class", ablation.OFF_PORT, ablation.NO_PORTS))]
            for name, result in found.items() if "default_above" in result]
    return ["## Above each baseline", "By how much more of the known flows are right than by the baseline, three seeds together: "
            "where 95 of 100 draws of the repositories put it, all folds together. Off-port and without ports at protocol "
            "level; without ports LightGBM was trained without them, too.",
            report.table(["baseline", "protocol", "service", "class", "off-port", "without ports"], rows)] if rows else []


def learning_curve(found):
    """What more repositories bring."""
    rows = []
    for name, share in {**folds.LEARNING_CURVE, "15 epochs": 1.0}.items():
        if "repositories" in found.get(name, {}):
            mean = found[name]["mean"]
            one = mean["all"]["protocol"]
            seen = found[name]["repositories"]
            rows.append([f"{share:.0%}", f"{min(seen)} to {max(seen)}", f"{one['known_flows']:.0f}",
                         f"{one['accuracy']:.3f}, {one['macro_f1']:.3f}",
                         f"{one['off_port_accuracy']:.3f} of {one['off_port_flows']:.0f}",
                         f"{mean['no-ports']['protocol']['accuracy']:.3f}",
                         f"{mean['other-port']['protocol']['accuracy']:.3f}"])
    return ["## With fewer repositories", "Means of the folds, trained for 15 epochs, on a share of the repositories that are "
            "not held out.", report.table(["seen", "repositories", "known flows", "accuracy, macro F1", "off-port",
                                           "without ports", "random port"], rows)] if len(rows) > 1 else []


def of_seeds(found):
    """The recipe again from other beginnings."""
    if ablation.THREE not in found:
        return []
    rows = [[f"seed {seed}", *(f"{mean['all'][level]['accuracy']:.3f}, {mean['all'][level]['macro_f1']:.3f}"
                               for level in ("protocol", "service", "class")),
             f"{mean['all']['protocol']['off_port_accuracy']:.3f}", f"{mean['no-ports']['protocol']['accuracy']:.3f}",
             f"{mean['first-5']['protocol']['accuracy']:.3f}"] for seed, mean in zip(folds.SEEDS, found[ablation.THREE]["seeds"])]
    return ["## Seeds", "Means of the folds.", report.table(
        ["", "protocol: accuracy, macro F1", "service", "class", "off-port", "without ports", "5 packets"], rows)]


def ablation_table(found):
    """Means of the folds, of every variant that has a result."""
    rows = []
    for name, result in found.items():
        if name in folds.LEARNING_CURVE:
            continue
        mean = result["mean"]
        every = mean["all"]
        no_ports, early = (mean.get(asked, {}).get("protocol") for asked in ("no-ports", "first-5"))
        low, high = result["above_port_table"]["protocol"]
        rows.append([name, *(f"{every[level]['accuracy']:.3f}, {every[level]['macro_f1']:.3f}"
                             for level in ("protocol", "service", "class")),
                     f"{every['protocol']['off_port_accuracy']:.3f}",
                     f"{no_ports['accuracy']:.3f}" if no_ports else "-", f"{early['accuracy']:.3f}" if early else "-",
                     f"{every['protocol']['ece']:.3f}", f"{low:+.3f} to {high:+.3f}"])
    return report.table(["variant", "protocol: accuracy, macro F1", "service", "class", "off-port", "without ports",
                         "5 packets", "calibration error", "above the port table, 95%"], rows)
