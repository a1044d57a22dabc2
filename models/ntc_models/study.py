"""The study: every run behind the tables and figures of docs/study, most telling first, and what works them off.

A run's result is one small file in `models/study/results/`, in git; a run that has one is not done again. A run
that was stopped goes on after its last epoch. Each run is a process of one thread, so they may be stopped at any
moment, all together by the process group: `kill -STOP -- -PID`, `kill -CONT -- -PID`, `kill -- -PID` with PID of the study.
"""

import contextlib
import fcntl
import fnmatch
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from . import architectures, baselines, catalogue, data, runs, splits
from .runs import FEATURE_SETS, Run

# -- knobs -------------------------------------------------------------------------------------------------------------
SEEDS = (1, 2, 3)
LONG = 80  # epochs, to show what more of them bring; the paper has 60 to 90
TWO_SPLITS = ("random", "by-repository")
SWEPT = ("cnn-rnn-2a", "rnn-1")  # over lengths, as in the paper's figures 11 and 10
# ----------------------------------------------------------------------------------------------------------------------

FOLDER = catalogue.MODELS / "study"
FOUND = "cnn-rnn-2a"  # the paper's best
HEADLINE = (FOUND, "rnn-1", "cnn-1")  # their seeds come first
# The quick ones first.
NINE = (*HEADLINE, "cnn-rnn-1", "cnn-rnn-5", "cnn-rnn-4", "cnn-rnn-2", "cnn-rnn-3a", "cnn-rnn-3")


def all_runs():
    """Every run of the study by id, in the order in which they are done."""
    simple = (*architectures.BASELINES, *baselines.BASELINES)
    wanted = [Run(name, split) for split in TWO_SPLITS for name in HEADLINE]
    wanted += [Run(name, split) for name in simple for split in TWO_SPLITS]
    wanted += [Run(FOUND, "random", epochs=LONG)]
    wanted += [Run(name, split) for split in TWO_SPLITS for name in NINE]
    wanted += [Run(FOUND, split, recipe="strangers") for split in ("by-repository", "random")]
    wanted += [Run(FOUND, split, features=features) for split in TWO_SPLITS for features in FEATURE_SETS]
    wanted += [Run(name, split, length=length) for split in TWO_SPLITS for name in reversed(SWEPT)
               for length in range(data.SEQUENCE_LENGTH, 0, -1)]
    wanted += [Run(name, split, seed=seed) for seed in SEEDS for split in TWO_SPLITS for name in HEADLINE]
    wanted += [Run(name, split, recipe="strangers") for split in ("by-repository", "all") for name in NINE]
    wanted += [Run(name, split, seed=seed) for seed in SEEDS for split in TWO_SPLITS for name in NINE]
    wanted += [Run(FOUND, split, epochs=LONG, seed=seed) for seed in SEEDS for split in TWO_SPLITS]
    folds = [name for name in splits.NAMES if name not in (*TWO_SPLITS, "all")]
    wanted += [Run(name, split) for split in folds for name in (*simple, *HEADLINE)]
    return {run.id: run for run in wanted if runs.possible(run)}


class Results:
    """The results that are there, by run id."""

    def __init__(self, folder=FOLDER / "results"):
        self.folder = Path(folder)

    def path(self, run):
        return self.folder / f"{run.id}.json"

    def get(self, run):
        path = self.path(run)
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def put(self, run, result):
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.path(run).with_suffix(".part")
        part.write_text(dense(runs.rounded(result)) + "\n", encoding="utf-8")
        part.replace(self.path(run))

    def has(self, run, data_sha256, split_sha256):
        """Whether the run was done: as it is defined now, on these data and this split."""
        found = self.get(run)
        return found is not None and (found["recipe_sha256"], found["data_sha256"], found["split_sha256"]) == (
            runs.recipe_digest(run), data_sha256, split_sha256)


def dense(result):
    """JSON with one line an entry of the outermost object and of its lists: small, and a change is a line."""
    def lines(value, indent):
        if isinstance(value, list) and value and isinstance(value[0], dict):
            inner = ",\n".join(f"{indent} {json.dumps(item)}" for item in value)
            return f"[\n{inner}\n{indent}]"
        if isinstance(value, dict) and value and all(isinstance(item, (dict, list)) for item in value.values()):
            inner = ",\n".join(f"{indent} {json.dumps(key)}: {lines(item, indent + ' ')}"
                               for key, item in value.items())
            return f"{{\n{inner}\n{indent}}}"
        return json.dumps(value)

    return "{\n" + ",\n".join(f" {json.dumps(key)}: {lines(value, ' ')}" for key, value in result.items()) + "\n}"


def chosen(patterns):
    return [run for run in all_runs().values()
            if not patterns or any(fnmatch.fnmatch(run.id, pattern) for pattern in patterns)]


def todo(wanted, flows, results):
    """The runs that have no result yet; writes or checks the file of each split on the way."""
    digest, split_of = flows.digest(), {}
    for name in dict.fromkeys(run.split for run in wanted):
        split = splits.make(name, flows)
        splits.keep(split, FOLDER / "splits")
        split_of[name] = split.sha256
    return [run for run in wanted if not results.has(run, digest, split_of[run.split])]


def run_one(run, flows, services, work, device, results):
    """Does one run in this process and writes its result."""
    parent = os.getppid()

    def say(text):
        print(f"{run.id}: {text}", flush=True)
        if os.getppid() != parent:
            sys.exit("the study is gone")  # after an epoch's line, whose checkpoint the next attempt goes on from

    result, _ = runs.execute(run, runs.Corpus.of(flows, services), work, device, say)
    results.put(run, result)
    say(summary(result))


def summary(result):
    if "figures" not in result:
        return "done"
    figures = result["figures"]["protocol"]
    return f"done: protocol accuracy {figures['accuracy']:.4f}, weighted F1 {figures['weighted_f1']:.4f}, macro F1 " \
           f"{figures['macro_f1']:.4f}"


def work_off(waiting, command, jobs, work):
    """Runs `command(run)` for each, so many at a time, in order; returns the runs that failed."""
    waiting, total, failed, running = list(waiting), len(waiting), [], {}
    left, begin, done = sum(run.cost for run in waiting), time.monotonic(), 0.0
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with alone(work):
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    run = waiting.pop(0)
                    running[subprocess.Popen(command(run), env=environment)] = run
                for process in [process for process in running if process.poll() is not None]:
                    run = running.pop(process)
                    if process.returncode:
                        failed.append(run)
                        print(f"{run.id}: failed", flush=True)
                    done += run.cost
                    hours = (left - done) / done * (time.monotonic() - begin) / 3600
                    print(f"[{total - len(waiting) - len(running)}/{total}] about {hours:.1f} h left", flush=True)
                time.sleep(1)
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait()
    return failed


@contextlib.contextmanager
def alone(work):
    """One study at a time in a work folder: two would write the same checkpoints."""
    Path(work).mkdir(parents=True, exist_ok=True)
    with open(Path(work) / "lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"another study runs in {work}") from None
        yield
