"""The command line: `python -m ntc_models extract|study|bundle|rebuild|ablation|trust|report|port-table|catalogue`."""

import argparse
import hashlib
import signal
import sys
from pathlib import Path

from . import (ablation, architectures, bundle, catalogue, data, folds, ports, rebuild, redundancy, report, runs, study,
               train, trust)

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
    corpus.add_argument("--generated", type=Path, metavar="DIR", default=catalogue.MODELS / "generated",
                        help="of `cargo xtask generate`, for recipes that train with it (%(default)s)")
    corpus.add_argument("--device", choices=("cpu", "cuda"), default="cpu")

    verb = verbs.add_parser("extract", parents=[corpus], help="write --flows out of the captures beside --labels")
    verb.add_argument("--ntc", required=True, help="the agent; `cargo xtask train` builds and names it")

    verb = verbs.add_parser("study", parents=[corpus], help="do the runs of the study that have no result yet")
    verb.add_argument("--only", action="append", default=[], metavar="GLOB", help="of run ids, several times")
    verb.add_argument("--jobs", type=int, default=2, help="runs at a time, one thread each (%(default)s)")
    verb.add_argument("--list", action="store_true", help="the runs and which are done, and nothing else")

    verb = verbs.add_parser("run", parents=[corpus], help="do one run of the study again, in this process")
    verb.add_argument("id", help="one of `study --list`")

    verb = verbs.add_parser("bundle", parents=[corpus], help="write a bundle; does the runs behind it that are missing")
    verb.add_argument("name", choices=[*architectures.TABLE_I, *bundle.RESIDUAL])
    verb.add_argument("--out", type=Path, help="its folder (models/NAME)")

    verb = verbs.add_parser("rebuild", parents=[corpus],
                            help="from the captures to a bundle: dataset, every network behind it, card and digests")
    verb.add_argument("name", choices=[*architectures.TABLE_I, *bundle.RESIDUAL])
    verb.add_argument("--ntc", required=True, help="the agent; `cargo xtask train` builds and names it")
    verb.add_argument("--out", type=Path, required=True, help="folder for all of it; must be new")
    verb.add_argument("--twice", action="store_true", help="do it again in --out/again, and compare")

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
    return {"extract": run_extract, "rebuild": run_rebuild, "study": run_study, "run": run_one, "bundle": run_bundle,
            "port-table": run_port_table, "ablation": run_ablation, "trust": run_trust, "redundancy": run_redundancy, "report": run_report,
            "catalogue": run_catalogue}[arguments.verb](arguments)


def read(arguments):
    if not arguments.flows.exists():
        raise SystemExit(f"no {arguments.flows}: `cargo xtask train extract` makes it")
    flows, joined = data.read_flows(arguments.flows, data.read_labels(arguments.labels),
                                    catalogue.ClassRules(arguments.classes))
    if joined["joined"] < joined["labelled"]:
        print(f"only {joined['joined']} of {joined['labelled']} labelled flows found", file=sys.stderr)
    return flows


def run_extract(arguments):
    rebuild.extract(arguments.ntc, arguments.labels.with_name("pcap.tar.zst"), arguments.flows, arguments.work / "captures")
    return 0


def run_rebuild(arguments):
    found = []
    for out in (arguments.out, arguments.out / "again") if arguments.twice else (arguments.out,):
        out.mkdir(parents=True, exist_ok=False)
        arguments.flows, arguments.work = out / "flows.parquet", out / "work"
        run_extract(arguments)
        run_bundle(arguments, study.Results(out / "results"), out / arguments.name)
        found.append(rebuild.digests(out / arguments.name))
        for name, digest in found[-1].items():
            print(f"{digest}  {out / arguments.name / name}", flush=True)
    if arguments.twice:
        print("twice the same" if found[0] == found[1] else "NOT the same")
    return 0 if all(one == found[0] for one in found) else 1


def workshop(arguments):
    """Where the networks of `residual-prior` are trained."""
    more = data.read_generated(arguments.generated, catalogue.ClassRules(arguments.classes))
    return folds.Workshop(catalogue.read(), arguments.work / "folds", lambda text: print(text, flush=True), more,
                          train.set_up(arguments.device))


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


def run_bundle(arguments, results=None, out=None):
    out = out or arguments.out or catalogue.MODELS / arguments.name
    corpus = runs.Corpus.of(read(arguments), catalogue.read())
    device = train.set_up(arguments.device)
    if arguments.name in bundle.RESIDUAL:
        bundle.make_residual(arguments.name, out, corpus, workshop(arguments))
    else:
        bundle.make(arguments.name, out, corpus, arguments.work / "study", device, results or study.Results())
    print(f"wrote {out}")
    return 0


def run_ablation(arguments):
    ablation.run(arguments.only, runs.Corpus.of(read(arguments), catalogue.read()), workshop(arguments))
    return 0


def run_trust(arguments):
    for path in trust.write(runs.Corpus.of(read(arguments), catalogue.read()), workshop(arguments)):
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
