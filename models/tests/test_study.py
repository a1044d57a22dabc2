import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import make_flows
from ntc_models import architectures, baselines, data, evaluate, runs, splits, study, train

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def corpus(services):
    return runs.Corpus.of(make_flows(480, seed=4, repositories=60), services)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name, knobs in train.RECIPES.items():
        monkeypatch.setitem(train.RECIPES, name, replace(knobs, batch=64))


def execute(run, corpus, tmp_path):
    return runs.execute(run, corpus, tmp_path, CPU, say=lambda text: None)


def test_the_study_is_complete():
    wanted = study.all_runs()
    headline = [run for run in wanted.values() if (run.features, run.length, run.recipe, run.epochs) == (
        "all", 20, "paper", runs.EPOCHS)]
    for split in study.TWO_SPLITS:
        for name in architectures.TABLE_I:
            assert {run.seed for run in headline if (run.architecture, run.split) == (name, split)} == {1, 2, 3}
        assert {run.features for run in wanted.values() if (run.architecture, run.split) == ("cnn-rnn-2a", split)
                } == set(runs.FEATURE_SETS)
        for name, least in (("cnn-rnn-2a", 7), ("rnn-1", 1)):
            lengths = {run.length for run in wanted.values() if (run.architecture, run.split) == (name, split)}
            assert lengths == set(range(least, 21))
        for name in (*baselines.BASELINES, *architectures.BASELINES):
            assert any((run.architecture, run.split) == (name, split) for run in wanted.values())
    assert {run.architecture for run in wanted.values() if run.split == "all"} == set(architectures.TABLE_I)
    assert all(run.epochs <= 25 for run in wanted.values() if run.length < 20)
    assert len(set(wanted)) == len(wanted) and all(run.id == key for key, run in wanted.items())


def test_a_run_has_every_figure(corpus, tmp_path):
    run = runs.Run("cnn-rnn-2a", "random", features="no-ports", length=12, epochs=2)
    result, trained = execute(run, corpus, tmp_path)
    assert set(result["figures"]) == set(evaluate.LEVELS)
    assert result["figures"]["protocol"]["flows"] + result["trained_on"] == 480
    assert len(result["history"]) == 2 and result["parameters"] == architectures.parameters(trained.network)
    assert [row["label"] for row in result["one_vs_rest"]["protocol"]] == ["TLS", "DNS", "HTTP"]
    again, _ = execute(run, corpus, tmp_path / "again")
    timeless = [{**found, "seconds": 0, "history": [{**row, "seconds": 0} for row in found["history"]]}
                for found in (result, again)]
    assert timeless[0] == timeless[1]
    json.dumps(result)


def test_held_out_repositories_are_never_trained_or_calibrated_on(corpus, tmp_path, monkeypatch):
    seen = []
    real = train.train

    def spy(flows, labels, catalogue, **options):
        seen.append(flows)
        return real(flows, labels, catalogue, **options)

    monkeypatch.setattr(train, "train", spy)
    monkeypatch.setattr(train, "fit_temperature", lambda logits, flows, *_: seen.append(flows) or 1.5)
    result, _ = execute(runs.Run("rnn-1", "by-repository", recipe="strangers", epochs=1), corpus, tmp_path)
    fitted, calibrating = seen
    held_out = set(corpus.flows.repo[splits.make("by-repository", corpus.flows).held_out])
    assert not held_out & set(fitted.repo) and not held_out & set(calibrating.repo)
    assert not set(fitted.repo) & set(calibrating.repo)
    assert result["temperature"] == 1.5 and 0 <= result["min_confidence"] <= 1
    assert set(result["answered"]) == {"share", "accuracy"}


def test_packets_beyond_the_length_are_not_there(corpus):
    short = runs.cut(corpus.flows, 3)
    assert not short.packets[:, 3:].any() and short.length.max() == 3
    assert corpus.flows.packets[:, 3:].any()


def test_the_networks_that_ship_know_every_frequent_service(corpus, tmp_path):
    result, trained = execute(runs.Run("rnn-1", "all", recipe="strangers", epochs=1), corpus, tmp_path)
    assert trained.labels == data.vocabulary(corpus.flows) and result["trained_on"] == 480
    assert "figures" not in result


@pytest.mark.parametrize("name", ["majority", "port-table"])
def test_baselines_that_learn_nothing(corpus, tmp_path, name):
    result, network = execute(runs.Run(name, "by-repository"), corpus, tmp_path)
    assert network is None
    assert result["figures"]["protocol"]["accuracy"] == (1.0 if name == "port-table" else pytest.approx(0.5, abs=0.05))


@pytest.mark.parametrize("name", ["nearest-neighbour", "random-forest", "lightgbm"])
def test_baselines_that_learn(corpus, tmp_path, name, monkeypatch):
    monkeypatch.setattr(baselines, "BOOSTING_ROUNDS", 5)
    result, _ = execute(runs.Run(name, "random"), corpus, tmp_path)
    assert result["figures"]["protocol"]["accuracy"] > 0.9


def test_what_is_finished_is_not_done_again(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "FOLDER", tmp_path)
    results = study.Results(tmp_path / "results")
    wanted = [runs.Run("majority", "random"), runs.Run("majority", "by-repository")]
    assert study.todo(wanted, corpus.flows, results) == wanted
    study.run_one(wanted[0], corpus.flows, corpus.catalogue, tmp_path, CPU, results)
    assert study.todo(wanted, corpus.flows, results) == wanted[1:]
    # The result is of these data and settings only.
    found = results.get(wanted[0])
    results.put(wanted[0], {**found, "recipe_sha256": "another"})
    assert study.todo(wanted, corpus.flows, results) == wanted
    assert (tmp_path / "splits" / "random.json").exists()


def test_two_at_a_time_in_order_and_failures_are_told(tmp_path):
    wanted = [runs.Run("majority", "random", seed=seed) for seed in (1, 2, 3)]
    log = tmp_path / "log"

    def command(run):
        note = f"open({str(log)!r}, 'a').write('{run.seed}'); raise SystemExit({int(run.seed == 2)})"
        return [sys.executable, "-c", note]

    assert study.work_off(wanted, command, 2, tmp_path) == [wanted[1]]
    assert sorted(log.read_text()) == ["1", "2", "3"]


def test_a_stopped_study_leaves_no_run_behind(tmp_path):
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    started = []
    real = subprocess.Popen

    def stop_when_both_run(run):
        if started:
            raise KeyboardInterrupt
        return sleeper

    class Popen(real):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

    study.subprocess.Popen = Popen
    try:
        with pytest.raises(KeyboardInterrupt):
            study.work_off([runs.Run("majority", "random"), runs.Run("majority", "by-repository")],
                           stop_when_both_run, 2, tmp_path)
    finally:
        study.subprocess.Popen = real
    assert [process.poll() is not None for process in started] == [True]


def test_one_study_at_a_time(tmp_path):
    with study.alone(tmp_path):
        with pytest.raises(SystemExit, match="another study"):
            with study.alone(tmp_path):
                pass


def test_results_are_small_and_readable(tmp_path):
    results = study.Results(tmp_path)
    run = runs.Run("majority", "random")
    value = {"id": run.id, "figures": {"protocol": {"accuracy": 2 / 3}}, "rows": [{"a": 1}, {"a": np.pi}], "none": None}
    results.put(run, value)
    assert results.get(run) == {**value, "figures": {"protocol": {"accuracy": 0.66667}}, "rows": [{"a": 1}, {"a": 3.14159}]}
    assert len(results.path(run).read_text().splitlines()) == 11
