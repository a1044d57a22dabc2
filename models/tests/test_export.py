import hashlib
import json
import tomllib

import numpy as np
import pytest
import torch

from ntc_models import architectures, catalogue, data, evaluate, export
from ntc_models.ports import PortEvidence, input_scale

SHIPPED = sorted(path.parent for path in catalogue.MODELS.glob("*/model.toml"))


def network_of(name, flows):
    torch.manual_seed(1)
    network = architectures.build(name, 4)
    network[0].fit(flows.packets, input_scale(flows, PortEvidence(flows)))
    network.train()(torch.as_tensor(flows.packets[:64]))  # so that batch normalisation has statistics of its own
    return network.eval()


@pytest.mark.parametrize("name", architectures.TABLE_I)
def test_onnx_runtime_and_pytorch_agree(flows, name):
    network = network_of(name, flows)
    onnx = export.onnx_bytes(network, 1.7)
    assert export.difference(onnx, network, 1.7, flows.packets) <= export.TOLERANCE
    assert (b"LSTM" in onnx) == ("LSTM" in architectures.TABLE_I[name])


def test_a_graph_is_the_same_each_time(flows):
    network = network_of("cnn-rnn-2a", flows)
    assert export.onnx_bytes(network, 1.7) == export.onnx_bytes(network, 1.7)


def test_vectors_are_what_onnx_runtime_says(flows):
    import onnxruntime

    network = network_of("cnn-1", flows)
    found = json.loads(export.vectors(network, 1.3))
    packets = np.array(found["packets"], dtype=np.float32).reshape(-1, data.SEQUENCE_LENGTH, len(data.FEATURES))
    session = onnxruntime.InferenceSession(export.onnx_bytes(network, 1.3), providers=["CPUExecutionProvider"])
    (said,) = session.run(["probabilities"], {"packets": packets})
    assert np.abs(said - np.array(found["probabilities"])).max() <= found["tolerance"] == export.TOLERANCE
    # They differ from each other, so a runtime that mixes flows or packets up does not pass.
    assert len({tuple(row) for row in found["probabilities"]}) == len(export.VECTOR_FLOWS)
    assert sorted({int((flow[:, 0] > 0).sum()) for flow in packets}) == sorted({row[2] for row in export.VECTOR_FLOWS})
    assert (packets[:, 0, 4:] == 0).all() and (packets >= 0).all()


def test_a_bundle_is_whole(flows, services, tmp_path):
    network = network_of("cnn-rnn-2a", flows)
    labels = data.vocabulary(flows)
    row = {**evaluate.scores(flows.service, flows.service), "flows": 240, "known_flows": 240,
           "known_accuracy": 1.0, "ece": 0.02, "unknown_auroc": None, "majority": {"accuracy": 0.25},
           "port_table": {"accuracy": 0.75, "macro_f1": 0.7}}
    figures = {level: row for level in evaluate.LEVELS}
    export.write_bundle(
        tmp_path / "cnn-rnn-2a", architecture="cnn-rnn-2a", network=network, labels=labels,
        catalogue=services, temperature=1.2,
        min_confidence=0.4, flows=flows, training={"epochs": 3},
        evaluation={"by_repository": figures, "random": figures,
                    "answered": {"share": 0.9, "accuracy": 0.8}},
        by_protocol=[{"protocol": "DNS", "flows": 60, "recall": 1.0, "precision": 1.0}])
    manifest = tomllib.loads((tmp_path / "cnn-rnn-2a" / "model.toml").read_text())
    assert manifest["output"]["labels"] == labels
    assert manifest["evaluation"]["random"]["service"]["port_table"]["accuracy"] == 0.75
    assert manifest["digest"]["training_data_sha256"] == flows.digest()
    assert manifest["output"]["ids"] == [services[label].id for label in labels]
    assert manifest["output"]["protocols"] == [services[label].protocol for label in labels]
    assert manifest["output"]["protocol_ids"] == [services[services[label].protocol].id for label in labels]
    written = (tmp_path / "cnn-rnn-2a" / "vectors.json").read_bytes()
    assert manifest["digest"]["vectors_sha256"] == hashlib.sha256(written).hexdigest()
    card = (tmp_path / "cnn-rnn-2a" / "card.md").read_text()
    assert "| by repository | protocol | 1.000 |" in card and "| DNS | 60 | 1.00 | 1.00 |" in card


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_shipped_bundles_keep_the_contract(folder):
    import onnxruntime

    manifest = tomllib.loads((folder / "model.toml").read_text())
    onnx = (folder / "model.onnx").read_bytes()
    assert manifest["model"]["name"] == folder.name
    assert manifest["digest"]["onnx_sha256"] == hashlib.sha256(onnx).hexdigest()
    assert manifest["input"]["features"] == list(data.FEATURES)
    assert 0 < manifest["output"]["min_confidence"] < 1
    known = catalogue.read()
    labels = manifest["output"]["labels"]
    assert all(label in known for label in labels) and len(set(labels)) == len(labels)
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    for flows in (1, 33):
        packets = np.zeros((flows, data.SEQUENCE_LENGTH, len(data.FEATURES)), dtype=np.float32)
        (probabilities,) = session.run([manifest["output"]["name"]], {manifest["input"]["name"]: packets})
        assert probabilities.shape == (flows, len(labels)) and probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-4)
