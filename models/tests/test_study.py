import json

import numpy as np
import pytest

from conftest import make_flows
from ntc_models import data, evaluate, study, train


@pytest.fixture(scope="module")
def runs(services, tmp_path_factory):
    flows = make_flows(480, seed=4, repositories=60)
    return study.Study("cnn-rnn-2a", flows, services, tmp_path_factory.mktemp("work"),
                       knobs=train.Knobs(min_epochs=2, max_epochs=2, batch=64, average=0.9))


def test_the_reported_fold_is_never_trained_or_stopped_on(runs, monkeypatch):
    seen = []
    real = runs.train

    def watch(name, flows, labels, **options):
        seen.append((flows, options.get("validation")))
        return real(name, flows, labels, **options)

    monkeypatch.setattr(runs, "train", watch)
    result = runs.by_repository()
    (fitted, validation), = seen
    folds = data.folds_by_repository(runs.flows)
    held_out = set(runs.flows.repo[folds == study.TEST_FOLD])
    assert not held_out & set(fitted.repo) and not held_out & set(validation.repo)
    assert not set(fitted.repo) & set(validation.repo)
    assert result["figures"]["protocol"]["flows"] == int((folds == study.TEST_FOLD).sum())
    assert set(result["baselines"]) == set(evaluate.LEVELS)
    assert result["baselines"]["protocol"]["port_table"]["accuracy"] == 1.0
    json.dumps(result)


def test_what_is_finished_is_not_done_again(runs):
    made = []
    first = runs.kept("a-run", lambda: made.append(1) or {"epochs": 7})
    second = runs.kept("a-run", lambda: made.append(1) or {"epochs": 8})
    assert first == second == {"epochs": 7} and len(made) == 1
    other = study.Study("cnn-rnn-2a", runs.flows[np.arange(100)], runs.catalogue, runs.work)
    assert other.kept("a-run", lambda: {"epochs": 9}) == {"epochs": 9}


def test_the_shipped_network_knows_every_frequent_service(runs):
    trained = runs.final(epochs=1)
    assert trained.labels == data.vocabulary(runs.flows) and trained.epochs == 1
