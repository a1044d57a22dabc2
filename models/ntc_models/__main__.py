"""The command line: `python -m ntc_models study|bundle|ablation|trust|report|port-table|catalogue`."""

import argparse
import hashlib
import signal
import sys
from pathlib import Path

from . import ablation, architectures, bundle, catalogue, data, ports, redundancy, report, residual, runs, study, train, trust

CORPUS = catalogue.MODELS.parent.parent / "shared" / "corpus"
WORK = catalogue.MODELS / ".work"


def main():
    parser = argparse.ArgumentParser(prog="ntc_models", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)

    corpus = argparse.ArgumentParser(add_help=False)
    corpus.add_argument("--flows", type=Path, default=WORK / "flows.parquet",
                        help="Parquet of `ntc extract --flow-rule corpus` (%(default)s)")
    corpus.add_argument("--labels", type=Path, default=CORPUS / "train" / "labels.csv.zst", help="plain or .zst")
    corpus.add_argument("--classes", type=Path, default=catalogue.CLASSES,
                        help="protocol and category to class (%(default)s)")
    corpus.add_argument("--work", type=Path, default=WORK, help="checkpoints (%(default)s)")
    corpus.add_argument("--device", choices=("cpu", "cuda"), default="cpu")

    verb = verbs.add_parser("study", parents=[corpus], help="do the runs of the study that have no result yet")
    verb.add_argument("--only", action="append", default=[], metavar="GLOB", help="of run ids, several times")
    verb.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each (%(default)s)")
    verb.add_argument("--list", action="store_true", help="the runs and which are done, and nothing else")

    verb = verbs.add_parser("run", parents=[corpus], help="do one run of the study again, in this process")
    verb.add_argument("id", help="one of `study --list`")

    verb = verbs.add_parser("bundle", parents=[corpus], help="write a bundle; does the runs behind it that are missing")
    verb.add_argument("name", choices=[*architectures.TABLE_I, residual.NAME])
    verb.add_argument("--out", type=Path, help="its folder (models/NAME)")

    verb = verbs.add_parser("ablation", parents=[corpus],
                            help="models/ablation: what each idea of residual-prior brings by repository")
    verb.add_argument("--only", action="append", default=[], metavar="GLOB", help="of variants, several times")

    verbs.add_parser("trust", parents=[corpus], help="write docs/model: when to believe residual-prior")

    verbs.add_parser("redundancy", parents=[corpus], help="write models/study/data.json: duplicates, conflicts, maxima")
    verb = verbs.add_parser("report", help="write docs/study out of the results that are there")
    verb.add_argument("--out", type=Path, default=report.FOLDER)

    verbs.add_parser("port-table", parents=[corpus], help="write models/port-table.csv, by which flows are off-port")

    verb = verbs.add_parser("catalogue", help="append the services of a label file to services.csv")
    verb.add_argument("--labels", type=Path, required=True)
    verb.add_argument("--classes", type=Path, default=catalogue.CLASSES)

    arguments = parser.parse_args()
    return {"study": run_study, "run": run_one, "bundle": run_bundle, "port-table": run_port_table,
            "ablation": run_ablation, "trust": run_trust, "redundancy": run_redundancy, "report": run_report,
            "catalogue": run_catalogue}[arguments.verb](arguments)


def read(arguments):
    flows, joined = data.read_flows(arguments.flows, data.read_labels(arguments.labels),
                                    catalogue.ClassRules(arguments.classes))
    if joined["joined"] < joined["labelled"]:
        print(f"only {joined['joined']} of {joined['labelled']} labelled flows found", file=sys.stderr)
    return flows


def run_study(arguments):
    results = study.Results()
    wanted = study.chosen(arguments.only)
    waiting = study.todo(wanted, read(arguments), results)
    if arguments.list:
        for run in wanted:
            print("waits" if run in waiting else "done ", run.id)
    print(f"{len(wanted) - len(waiting)} of {len(wanted)} runs are done", flush=True)
    if arguments.list:
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # an exception, so that the children are ended too
    shared = [word for name in ("flows", "labels", "classes", "work", "device")
              for word in (f"--{name}", str(getattr(arguments, name)))]
    failed = study.work_off(waiting, lambda run: [sys.executable, "-m", "ntc_models", "run", run.id, *shared],
                            arguments.jobs, arguments.work / "study")
    for run in failed:
        print(f"failed: {run.id}", file=sys.stderr)
    return 1 if failed else 0


def run_one(arguments):
    device = train.set_up(arguments.device)
    study.run_one(study.all_runs()[arguments.id], read(arguments), catalogue.read(), arguments.work / "study", device,
                  study.Results())
    return 0


def run_bundle(arguments):
    out = arguments.out or catalogue.MODELS / arguments.name
    corpus = runs.Corpus.of(read(arguments), catalogue.read())
    device = train.set_up(arguments.device)
    if arguments.name == residual.NAME:
        bundle.make_residual(out, corpus, arguments.work / "folds")
    else:
        bundle.make(arguments.name, out, corpus, arguments.work / "study", device, study.Results())
    print(f"wrote {out}")
    return 0


def run_ablation(arguments):
    train.set_up(arguments.device)
    ablation.run(arguments.only, runs.Corpus.of(read(arguments), catalogue.read()), arguments.work / "folds",
                 lambda text: print(text, flush=True))
    return 0


def run_trust(arguments):
    train.set_up(arguments.device)
    for path in trust.write(runs.Corpus.of(read(arguments), catalogue.read()), arguments.work / "folds"):
        print(path)
    return 0


def run_redundancy(arguments):
    found = redundancy.report(read(arguments))
    (study.FOLDER / "data.json").write_text(study.dense(runs.rounded(found)) + "\n", encoding="utf-8")
    return 0


def run_report(arguments):
    for path in report.write(arguments.out, study.Results(), study.FOLDER / "data.json"):
        print(path)
    return 0


def run_port_table(arguments):
    text = ports.table_csv(ports.tables(read(arguments)))
    ports.COMMITTED.write_text(text, encoding="utf-8")
    digest = f"{hashlib.sha256(text.encode()).hexdigest()}  {ports.COMMITTED.name}\n"
    Path(f"{ports.COMMITTED}.sha256").write_text(digest, encoding="utf-8")
    print(digest, end="")
    return 0


def run_catalogue(arguments):
    added = catalogue.extend(data.read_labels(arguments.labels), catalogue.ClassRules(arguments.classes))
    for service in added:
        print(f"{service.id},{service.name},{service.protocol},{service.traffic_class}")
    print(f"{len(added)} services added", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
