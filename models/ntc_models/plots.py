"""Plots as SVG: the same bytes for the same figures."""

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.hashsalt": "ntc", "svg.fonttype": "none", "font.size": 9, "axes.grid": True,
                            "axes.axisbelow": True, "grid.color": "#dddddd", "axes.spines.top": False,
                            "axes.spines.right": False})

from matplotlib import pyplot  # noqa: E402

# Told apart also by those who see few colours (Okabe and Ito).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999", "#f0e442")


def save(figure, path):
    figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def bars(path, names, series, title, marks):
    """Groups of bars, one a name; None leaves a gap. `marks` are horizontal lines by their names."""
    figure, axes = pyplot.subplots(figsize=(8, 3.6))
    width = 0.8 / max(len(series), 1)
    for place, (label, values) in enumerate(series.items()):
        left = (place + 0.5) * width - 0.4
        there = [(index + left, value) for index, value in enumerate(values) if value is not None]
        axes.bar([x for x, _ in there], [y for _, y in there], width, label=label, color=COLOURS[place])
    for place, (label, value) in enumerate(marks.items()):
        axes.axhline(value, color="black", linestyle="--", linewidth=1, label=label)
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right")
    axes.set_ylim(0, 1)
    axes.set_ylabel(title)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=4, fontsize=8, frameon=False)
    save(figure, path)


def lines(path, x, series, x_title, y_title):
    figure, axes = pyplot.subplots(figsize=(7, 3.6))
    for place, (label, values) in enumerate(series.items()):
        there = [(at, value) for at, value in zip(x, values) if value is not None]
        axes.plot([at for at, _ in there], [value for _, value in there], "o-", label=label, color=COLOURS[place],
                  markersize=4)
    axes.set_xticks(list(x))
    axes.set_ylim(0, 1)
    axes.set_xlabel(x_title)
    axes.set_ylabel(y_title)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=4, fontsize=8, frameon=False)
    save(figure, path)


def curves(path, results):
    """Training loss by epoch, of the runs that are there."""
    figure, axes = pyplot.subplots(figsize=(7, 3.6))
    for place, (label, result) in enumerate(results.items()):
        if result:
            axes.plot([row["epoch"] for row in result["history"]], [row["loss"] for row in result["history"]],
                      label=label, color=COLOURS[place])
    axes.set_yscale("log")
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss")
    if axes.lines:
        axes.legend(fontsize=8)
    save(figure, path)
