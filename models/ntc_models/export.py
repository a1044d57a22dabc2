"""A bundle: `model.onnx` (native LSTM, dynamic batch, normalisation, temperature and softmax inside), `model.toml`
that the agent reads, `vectors.json` with answers to check a runtime by, and `card.md` for people. Exported on the CPU,
and compared with PyTorch before it is written.
"""

import hashlib
import inspect
import io
import json
import re
import warnings
from pathlib import Path

import numpy as np
import torch

from . import architectures, card, residual
from .data import FEATURES, SEQUENCE_LENGTH

# -- knobs -------------------------------------------------------------------------------------------------------------
VERSION = "0.1.0"
LICENSE = "MIT OR Apache-2.0"
OPSET = 13
TOLERANCE = 1e-5  # between ONNX Runtime and PyTorch
VECTOR_SEED = 20
# ----------------------------------------------------------------------------------------------------------------------

INPUT, OUTPUT = "packets", "probabilities"
UNITS_OF_FEATURES = ("port", "port", "bytes", "raw 16 bits", "microseconds", "0 or 1")


def onnx_bytes(network, temperature):
    """The graph; no other package is needed for it."""
    classifier = architectures.Classifier(network, temperature).cpu().eval()
    options = {}
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        options["dynamo"] = False  # PyTorch 2's other exporter unrolls the LSTM
    buffer = io.BytesIO()
    with torch.no_grad(), warnings.catch_warnings():
        # It warns that an LSTM may not take another batch size than the example's: `difference` tries several.
        warnings.simplefilter("ignore")
        torch.onnx.export(classifier, architectures.example_input(), buffer, opset_version=OPSET,
                          input_names=[INPUT], output_names=[OUTPUT],
                          dynamic_axes={INPUT: {0: "flows"}, OUTPUT: {0: "flows"}}, **options)
    return buffer.getvalue()


def difference(onnx, network, temperature, packets):
    """The largest difference between ONNX Runtime's and PyTorch's probabilities, over batches of several sizes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    classifier = architectures.Classifier(network, temperature).cpu().eval()
    largest, start = 0.0, 0
    for size in (1, 7, 32, 64, 256):
        batch = packets[start : start + size]
        start += size
        if len(batch):
            with torch.no_grad():
                wanted = classifier(torch.as_tensor(batch)).numpy()
            largest = max(largest, float(np.abs(session.run([OUTPUT], {INPUT: batch})[0] - wanted).max()))
    return largest


# Flows that were made up to check a runtime by: TCP or UDP, server port, packets.
VECTOR_FLOWS = ((17, 53, 2), (6, 443, 20), (6, 80, 13), (17, 123, 1), (6, 22, 20), (17, 443, 10), (6, 51234, 7),
                (17, 5060, 4))


def vector_packets():
    """One raw flow [20, 6] for each of `VECTOR_FLOWS`, sizes and gaps at random."""
    random = np.random.default_rng(VECTOR_SEED)
    packets = np.zeros((len(VECTOR_FLOWS), SEQUENCE_LENGTH, len(FEATURES)), dtype=np.float32)
    for flow, (proto, server, length) in zip(packets, VECTOR_FLOWS):
        client = random.integers(32768, 61000)
        for place in range(length):
            reply = int(place > 0 and random.random() < 0.5)
            ports = (server, client) if reply else (client, server)
            window = random.integers(200, 65536) if proto == 6 else 0
            flow[place] = (*ports, random.integers(0, 1461), window, place and random.integers(10, 200_000), reply)
    return packets


def vectors(network, temperature):
    """The made-up flows and PyTorch's probabilities of them, as text."""
    packets = vector_packets()
    with torch.no_grad():
        wanted = architectures.Classifier(network, temperature).cpu().eval()(torch.as_tensor(packets)).numpy()
    lines = [f' "tolerance": {TOLERANCE}']
    for name, rows in ((INPUT, packets.reshape(len(packets), -1).astype(int)), (OUTPUT, wanted)):
        numbers = [[float(f"{value:.6g}") if name == OUTPUT else int(value) for value in row] for row in rows]
        lines.append(f' "{name}": [\n' + ",\n".join(f"  {json.dumps(row)}" for row in numbers) + "\n ]")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def write_bundle(folder, *, architecture, network, labels, catalogue, temperature, min_confidence, flows, training,
                 evaluation, by_protocol=(), method="temperature, on repositories not trained on", text=card.card):
    """Writes the four files.

    `training` and `evaluation` are what the study found, for manifest and card;
    `by_protocol` is for the card alone, which `text` writes.
    """
    folder = Path(folder)
    onnx = onnx_bytes(network, temperature)
    sample = np.random.default_rng(0).permutation(len(flows))[:360]
    apart = difference(onnx, network, temperature, np.concatenate([vector_packets(), flows.packets[sample]]))
    if not apart <= TOLERANCE:
        raise ValueError(f"ONNX Runtime differs from PyTorch by {apart}")
    checks = vectors(network, temperature)
    services = [catalogue[label] for label in labels]
    ids = {service.name: service.id for service in catalogue.values()}
    manifest = {
        "model": {
            "name": folder.name,
            "version": VERSION,
            "architecture": architecture,
            "layers": residual.sketch() if architecture == residual.NAME else architectures.ARCHITECTURES[architecture],
            "license": LICENSE,
        },
        "input": {"name": INPUT, "sequence_length": SEQUENCE_LENGTH, "features": list(FEATURES),
                  "units": list(UNITS_OF_FEATURES), "padding": 0},
        "output": {
            "name": OUTPUT,
            "min_confidence": min_confidence,
            "labels": labels,
            # One entry a label: its id in models/services.csv (below 1024 nDPI's own), its protocol with nDPI's id for
            # that (0: the catalogue has none), and its class.
            "ids": [service.id for service in services],
            "protocols": [service.protocol for service in services],
            "protocol_ids": [ids.get(service.protocol, 0) for service in services],
            "classes": [service.traffic_class for service in services],
        },
        "calibration": {"temperature": temperature, "method": method},
        "digest": {
            "onnx_sha256": hashlib.sha256(onnx).hexdigest(),
            "vectors_sha256": hashlib.sha256(checks.encode()).hexdigest(),
            "training_data_sha256": flows.digest(),
        },
        "training": {**training, "flows": len(flows), "repositories": len(set(flows.repo)),
                     "temperature": temperature, "pytorch": torch.__version__},
        "evaluation": evaluation,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(onnx)
    (folder / "vectors.json").write_text(checks, encoding="utf-8")
    (folder / "model.toml").write_text(toml(manifest), encoding="utf-8")
    (folder / "card.md").write_text(text(manifest, by_protocol), encoding="utf-8")
    return manifest


def toml(manifest):
    lines = ["# Written with the model by `python -m ntc_models`; card.md explains it."]

    def table(path, values):
        lines.extend(["", f"[{'.'.join(map(key_name, path))}]"])
        nested = {}
        for key, value in values.items():
            if isinstance(value, dict):
                nested[key] = value
            elif value is not None:
                lines.append(f"{key_name(key)} = {literal(value)}")
        for key, value in nested.items():
            table([*path, key], value)

    for key, values in manifest.items():
        table([key], values)
    return "\n".join(lines) + "\n"


def key_name(key):
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def literal(value):
    if isinstance(value, float):
        return repr(round(value, 4))
    if isinstance(value, list) and len(value) > len(FEATURES) and isinstance(value[0], int):
        lines = [value[at : at + 20] for at in range(0, len(value), 20)]
        return "[\n" + "".join(f"    {', '.join(map(str, line))},\n" for line in lines) + "]"
    if isinstance(value, list) and len(value) > len(FEATURES):
        return "[\n" + "".join(f"    {literal(item)},\n" for item in value) + "]"
    return json.dumps(value)  # of strings, integers, booleans and short lists the same as TOML's
