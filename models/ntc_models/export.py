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

from . import architectures, card, products, residual
from .data import FEATURES, SEQUENCE_LENGTH

# -- knobs -------------------------------------------------------------------------------------------------------------
VERSION = "0.1.0"
LICENSE = "MIT OR Apache-2.0"
OPSET = 13
TOLERANCE = 1e-5  # between ONNX Runtime and PyTorch
QUANTISED_TOLERANCE = 0.05  # between processors: each rounds its own way
QUANTISED_BY = 2048  # flows
VECTOR_SEED = 20
# ----------------------------------------------------------------------------------------------------------------------

INPUT, OUTPUT = "packets", "probabilities"
UNITS_OF_FEATURES = ("port", "port", "bytes", "raw 16 bits", "microseconds", "0 or 1")


def onnx_bytes(network, temperature, by_products=True):
    """The graph; no other package is needed for it."""
    network = products.of(network) if by_products else network
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


def session_of(onnx):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])


def ask(onnx, packets, batch=1024):
    """ONNX Runtime's probabilities."""
    session = session_of(onnx)
    return np.concatenate([session.run([OUTPUT], {INPUT: packets[at : at + batch]})[0]
                           for at in range(0, len(packets), batch)])


def quantised(onnx, packets):
    """The graph with 8-bit convolutions and products, scaled by what some of the flows make of it."""
    import tempfile

    from onnxruntime import quantization

    class Flows(quantization.CalibrationDataReader):
        def __init__(self):
            chosen = np.random.default_rng(0).permutation(len(packets))[:QUANTISED_BY]
            self.batches = iter(np.array_split(packets[chosen], max(len(chosen) // 128, 1)))

        def get_next(self):
            batch = next(self.batches, None)
            return None if batch is None else {INPUT: batch}

    with tempfile.TemporaryDirectory() as folder:
        floats, bytes_ = Path(folder) / "floats.onnx", Path(folder) / "bytes.onnx"
        floats.write_bytes(onnx)
        # Weights of 7 bits: processors without VNNI add two products in 16 bits.
        quantization.quantize_static(
            floats, bytes_, Flows(), quant_format=quantization.QuantFormat.QDQ, per_channel=True, reduce_range=True,
            activation_type=quantization.QuantType.QUInt8, weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=["Conv", "Gemm", "MatMul"])
        return bytes_.read_bytes()


def difference(onnx, network, temperature, packets):
    """The largest difference between ONNX Runtime's and PyTorch's probabilities, over batches of several sizes."""
    session = session_of(onnx)
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


def vectors(network, temperature, quantised=None):
    """The made-up flows and PyTorch's probabilities of them, of a quantised graph ONNX Runtime's, as text."""
    packets = vector_packets()
    if quantised:
        wanted = ask(quantised, packets)
    else:
        with torch.no_grad():
            wanted = architectures.Classifier(network, temperature).cpu().eval()(torch.as_tensor(packets)).numpy()
    lines = [f' "tolerance": {QUANTISED_TOLERANCE if quantised else TOLERANCE}']
    for name, rows in ((INPUT, packets.reshape(len(packets), -1).astype(int)), (OUTPUT, wanted)):
        numbers = [[float(f"{value:.6g}") if name == OUTPUT else int(value) for value in row] for row in rows]
        lines.append(f' "{name}": [\n' + ",\n".join(f"  {json.dumps(row)}" for row in numbers) + "\n ]")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def write_bundle(folder, *, architecture, network, labels, catalogue, temperature, min_confidence, flows, training,
                 evaluation, by_protocol=(), method="temperature, on repositories not trained on", text=card.card, quantised=None):
    """Writes the four files; a quantised graph, where there is one, in the network's place.

    `training` and `evaluation` are what the study found, for manifest and card;
    `by_protocol` is for the card alone, which `text` writes.
    """
    folder = Path(folder)
    onnx = onnx_bytes(network, temperature)
    sample = np.random.default_rng(0).permutation(len(flows))[:360]
    apart = difference(onnx, network, temperature, np.concatenate([vector_packets(), flows.packets[sample]]))
    if not apart <= TOLERANCE:
        raise ValueError(f"ONNX Runtime differs from PyTorch by {apart}")
    onnx = quantised or onnx
    checks = vectors(network, temperature, quantised)
    services = [catalogue[label] for label in labels]
    ids = {service.name: service.id for service in catalogue.values()}
    manifest = {
        "model": {
            "name": folder.name,
            "version": VERSION,
            "architecture": architecture,
            "layers": (residual.sketch(network) if architecture == residual.NAME
                       else architectures.ARCHITECTURES[architecture]),
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
