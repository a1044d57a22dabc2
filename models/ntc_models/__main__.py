"""The command line: `python -m ntc_models train|catalogue`."""

import argparse
import sys
from pathlib import Path

from . import architectures, catalogue, data, export, study, train

CLASSES = Path("../shared/corpus/classes.csv")


def main():
    parser = argparse.ArgumentParser(prog="ntc_models", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)

    verb = verbs.add_parser("train", help="train, evaluate and export a bundle; a stopped run goes on where it was")
    verb.add_argument("--flows", type=Path, required=True, help="Parquet of `ntc extract --flow-rule corpus`")
    verb.add_argument("--labels", type=Path, required=True, help="labels.csv, plain or .zst")
    verb.add_argument("--classes", type=Path, default=CLASSES, help="protocol and category to class (%(default)s)")
    verb.add_argument("--out", type=Path, required=True, help="the bundle's folder, models/cnn-rnn-2a")
    verb.add_argument("--architecture", choices=architectures.ARCHITECTURES, default="cnn-rnn-2a")
    verb.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    verb.add_argument("--work", type=Path, default=catalogue.MODELS / ".work", help="checkpoints and results")
    verb.add_argument("--epochs", type=int, help="exactly so many, for a quick trial (default: {} to {})".format(
        train.Knobs.min_epochs, train.Knobs.max_epochs))

    verb = verbs.add_parser("catalogue", help="append the services of a label file to services.csv")
    verb.add_argument("--labels", type=Path, required=True)
    verb.add_argument("--classes", type=Path, default=CLASSES)

    arguments = parser.parse_args()
    return {"train": run_train, "catalogue": run_catalogue}[arguments.verb](arguments)


def read(arguments):
    flows, joined = data.read_flows(arguments.flows, data.read_labels(arguments.labels),
                                    catalogue.ClassRules(arguments.classes))
    print(f"{joined['joined']} of {joined['labelled']} labelled flows found, {len(set(flows.repo))} repositories, "
          f"data {flows.digest()}", flush=True)
    return flows


def run_train(arguments):
    flows = read(arguments)
    knobs = train.Knobs()
    if arguments.epochs:
        knobs = train.Knobs(min_epochs=arguments.epochs, max_epochs=arguments.epochs)
    runs = study.Study(arguments.architecture, flows, catalogue.read(), arguments.work / arguments.out.name,
                       arguments.device, knobs)
    strangers = runs.kept("by-repository", runs.by_repository)
    epochs, temperature = strangers["epochs"], strangers["temperature"]
    final = runs.final(epochs)
    random = runs.kept("random", lambda: runs.random(epochs, temperature))
    export.write_bundle(
        arguments.out, architecture=arguments.architecture, network=final.network, labels=final.labels,
        temperature=temperature, min_confidence=strangers["min_confidence"], flows=flows,
        training={"epochs": epochs, "seed": study.SEED, "split_sha256": strangers["split_sha256"]},
        evaluation={"by_repository": beside(strangers), "random": beside(random), "answered": strangers["answered"]},
        by_protocol=strangers["by_protocol"])
    print(f"wrote {arguments.out}")


def beside(run):
    """The figures of a run with those of its baselines at each level."""
    return {level: {**run["figures"][level], **run["baselines"][level]} for level in run["figures"]}


def run_catalogue(arguments):
    added = catalogue.extend(data.read_labels(arguments.labels), catalogue.ClassRules(arguments.classes))
    for service in added:
        print(f"{service.id},{service.name},{service.protocol},{service.traffic_class}")
    print(f"{len(added)} services added", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
