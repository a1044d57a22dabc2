from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import make_flows
from ntc_models import data, study, train

QUICK = train.Knobs(min_epochs=3, max_epochs=3, batch=32, average=0.9)


def run(flows, services, work, knobs=QUICK, **options):
    return train.train("cnn-rnn-2a", flows, data.vocabulary(flows), services, name="test", seed=3, device="cpu",
                       work=work, knobs=knobs, **options)


def test_it_learns_what_is_easy(flows, services, tmp_path):
    strangers = make_flows(80, seed=9)
    trained = run(flows, services, tmp_path, replace(QUICK, min_epochs=12, max_epochs=12), validation=strangers)
    assert trained.history[-1]["protocol_accuracy"] > 0.9


def test_a_stopped_run_goes_on_as_if_it_had_not_stopped(flows, services, tmp_path, monkeypatch):
    whole = run(flows, services, tmp_path / "whole", epochs=2)
    saved = torch.save

    def save_and_stop(*arguments):
        saved(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            run(flows, services, tmp_path / "parts", epochs=2)
    part = tmp_path / "parts" / "test.part"
    part.rename(part.with_suffix(".pt"))
    resumed = run(flows, services, tmp_path / "parts", epochs=2)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_it_stops_when_the_last_epochs_were_no_better(flows, services, tmp_path, monkeypatch):
    losses = iter([3.0, 2.0, 2.5, 2.5, 2.5, 2.5, 2.5])
    monkeypatch.setattr(train, "validate", lambda *_: {"validation_loss": next(losses)})
    knobs = replace(QUICK, min_epochs=3, max_epochs=7, patience=3)
    assert run(flows, services, tmp_path, knobs, validation=flows).epochs == 5


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
    probability = study.probabilities(logits, 5.0)
    least = study.least_confidence(probability, flows, labels, services)
    said = train.evaluate.answer(probability, labels, services)
    right = said.protocol == flows.protocol
    assert 0.98 <= (said.confidence[right] >= least - 1e-3).mean()
    found = study.answered(probability, flows, labels, services, least)
    assert 0.5 < found["accuracy"] <= 1 and 0.5 < found["share"] <= 1
