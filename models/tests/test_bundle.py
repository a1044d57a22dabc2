import tomllib
from dataclasses import replace

import pytest
import torch

from conftest import make_flows
from ntc_models import architectures, bundle, export, runs, study, train


@pytest.fixture
def made(tmp_path, services, monkeypatch):
    monkeypatch.setattr(study, "FOLDER", tmp_path / "study")
    for name, knobs in train.RECIPES.items():
        monkeypatch.setitem(train.RECIPES, name, replace(knobs, batch=128, average=0.5 * bool(knobs.average)))
    corpus = runs.Corpus.of(make_flows(480, seed=4, repositories=60), services)

    def make(folder):
        results = study.Results(tmp_path / folder / "results")
        bundle.make("rnn-1", tmp_path / folder / "rnn-1", corpus, tmp_path / folder / "work", torch.device("cpu"),
                    results, say=lambda text: None)
        return tmp_path / folder / "rnn-1", results

    return make


def test_the_same_data_give_the_same_bundle(made):
    first, results = made("a")
    second, _ = made("b")
    for name in ("model.onnx", "model.toml", "vectors.json", "card.md"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    manifest = tomllib.loads((first / "model.toml").read_text())
    assert manifest["training"]["run"] == "all.rnn-1.all.20.strangers-24.s1"
    strangers = results.get(runs.Run("rnn-1", "by-repository", recipe="strangers"))
    assert manifest["calibration"]["temperature"] == pytest.approx(strangers["temperature"], abs=1e-4)
    assert manifest["evaluation"]["by_repository"]["protocol"]["accuracy"] == pytest.approx(
        strangers["figures"]["protocol"]["accuracy"], abs=1e-4)
    assert manifest["evaluation"]["random"]["protocol"]["port_table"]["accuracy"] == 1.0
    shipped = manifest["evaluation"]["all"]["class"]
    assert (shipped["flows"], shipped["known_flows"], shipped["labels"]) == (480, 480, 2)
    card = (first / "card.md").read_text()
    assert "RNN-1 of Lopez-Martin" in card and "LSTM(100) - FC(100) - FC(N)" in card


def test_a_graph_that_differs_from_pytorch_is_no_bundle(flows, services, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "difference", lambda *_: 1e-4)
    network = architectures.build("cnn-1", 4).eval()
    with pytest.raises(ValueError, match="differs from PyTorch"):
        export.write_bundle(tmp_path / "cnn-1", architecture="cnn-1", network=network, labels=list(services),
                            catalogue=services, temperature=1.0, min_confidence=0.3, flows=flows, training={},
                            evaluation={})
    assert not (tmp_path / "cnn-1").exists()
