from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import make_flows
from ntc_models import data, runs, train

STRANGERS = replace(train.STRANGERS, batch=32, average=0.9)
PAPER = replace(train.PAPER, batch=32)


def run(flows, services, work, knobs=PAPER, epochs=2, **options):
    return train.train(flows, data.vocabulary(flows), services, **{
        "architecture": "rnn-1", "knobs": knobs, "epochs": epochs, "seed": 3, "device": torch.device("cpu"),
        "checkpoint": work / "test.pt", "say": lambda text: None, **options})


@pytest.mark.parametrize("knobs", [PAPER, STRANGERS], ids=["paper", "strangers"])
def test_it_learns_what_is_easy(flows, services, tmp_path, knobs):
    strangers = make_flows(80, seed=9)
    trained = run(flows, services, tmp_path, knobs, epochs=12, architecture="cnn-1", watched=strangers)
    assert trained.history[-1]["accuracy"] > 0.9
    assert [row["epoch"] for row in trained.history if "accuracy" in row] == [4, 8, 12]


def test_what_is_watched_decides_nothing(flows, services, tmp_path):
    alone = run(flows, services, tmp_path / "alone", epochs=4)
    watched = run(flows, services, tmp_path / "watched", epochs=4, watched=make_flows(80, seed=9))
    for name, value in alone.network.state_dict().items():
        assert torch.equal(value, watched.network.state_dict()[name]), name


@pytest.mark.parametrize("knobs", [PAPER, STRANGERS], ids=["paper", "strangers"])
def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(flows, services, tmp_path, monkeypatch, knobs):
    whole = run(flows, services, tmp_path / "whole", knobs)
    saved = torch.save

    def save_and_stop(*arguments):
        saved(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            run(flows, services, tmp_path / "parts", knobs)
    part = tmp_path / "parts" / "test.part"
    part.rename(part.with_suffix(".pt"))
    said = []
    resumed = run(flows, services, tmp_path / "parts", knobs, say=said.append)
    assert said[0] == "goes on after epoch 1" and len(said) == 2
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_a_checkpoint_of_another_run_is_not_used(flows, services, tmp_path):
    run(flows, services, tmp_path, epochs=1)
    said = []
    run(flows, services, tmp_path, epochs=1, seed=4, say=said.append)
    assert said[0].startswith("epoch 1/1")


def test_one_cycle_goes_up_and_down_to_nothing():
    rates = [train.learning_rate(train.PAPER, step, 100) for step in range(101)]
    assert rates[0] == pytest.approx(0.1 * train.PAPER.learning_rate)
    assert max(rates) == rates[30] == train.PAPER.learning_rate and rates[100] == pytest.approx(0)
    assert train.learning_rate(train.Knobs(), 7, 100) == train.Knobs().learning_rate


def test_weights_give_every_repository_a_voice(flows):
    uneven = flows[np.r_[0:240, [0] * 300]]
    weight = train.weights(uneven)
    assert weight[240] < weight[1] and weight.max() <= train.HEAVIEST


def test_a_label_outside_the_vocabulary_still_teaches_its_protocol(services):
    matrix = torch.as_tensor(train.evaluate.protocol_matrix(["DNS", "TLS"], services)[1])
    logits = torch.tensor([[0.0, 2.0]])
    tls = train.losses(logits, torch.tensor([-1]), torch.tensor([1]), matrix, 0.5)
    assert tls.item() == pytest.approx(0.5 * np.log(1 + np.exp(-2)), rel=1e-5)
    nothing = train.losses(logits, torch.tensor([-1]), torch.tensor([-1]), matrix, 0.5)
    assert nothing.item() == 0


def test_the_temperature_undoes_overconfidence(flows, services):
    labels = data.vocabulary(flows)
    random = np.random.default_rng(0)
    logits = np.full((len(flows), len(labels)), 0.0)
    for row, name in enumerate(flows.service):
        said = name if random.random() < 0.7 else random.choice(labels)
        logits[row, labels.index(said)] = 12.0
    logits = torch.as_tensor(logits, dtype=torch.float32)
    assert train.fit_temperature(logits, flows, labels, services) > 3
    probability = train.probabilities(logits, 5.0)
    least = runs.least_confidence(probability, flows, labels, services)
    said = train.evaluate.answer(probability, labels, services)
    right = said.protocol == flows.protocol
    assert 0.98 <= (said.confidence[right] >= least - 1e-3).mean()
