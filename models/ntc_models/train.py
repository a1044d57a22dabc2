"""One network, trained: Adam and cross entropy.

The loss is the mean of two cross entropies, of the service and of its protocol (the summed probability of the
protocol's services): answers are judged at both levels, and flows of services too rare for the vocabulary still
teach their protocol.

Two recipes. `PAPER` is Lopez-Martin et al.'s: flows as they are, every flow weighs the same; only that the learning
rate goes up and down once over a number of epochs that is set beforehand, which needs fewer of them than waiting until
the loss no longer falls. `STRANGERS` is ntc's, for networks that will see other people's traffic: flows are changed as
a stranger's network would change them (`augment`), each (repository, label) weighs with the root of its flows, so that
one large capture does not outvote ninety small ones, and what is kept is a moving average of the weights.
"""

import hashlib
import json
import math
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from . import architectures, evaluate
from .augment import Knobs as Augmentation
from .augment import augment
from .data import FEATURES, SEQUENCE_LENGTH
from .ports import PortEvidence, input_scale

# -- knobs -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Knobs:
    batch: int = 256
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    clip: float = 2.0
    average: float = 0.998  # of the weights, per step; 0: the last weights are kept
    protocol_share: float = 0.5  # of the loss
    weighted: bool = True  # by (repository, label)^-0.5
    one_cycle: bool = False  # else the learning rate is constant
    augmentation: Augmentation | None = field(default_factory=Augmentation)


STRANGERS = Knobs(one_cycle=True)
PAPER = Knobs(weight_decay=0.0, average=0.0, weighted=False, one_cycle=True, augmentation=None)
RECIPES = {"paper": PAPER, "strangers": STRANGERS}


WARM_UP = 0.3  # of a one-cycle run's steps
HEAVIEST = 8.0  # weight of a flow, the mean being 1
EVALUATION_BATCH = 1024
WATCH_EVERY = 4  # epochs
COST_OF_A_FLOW = 300_000  # beside multiply-adds: what the smallest network takes, on a CPU
# ----------------------------------------------------------------------------------------------------------------------


class Targets:
    """Indices of service and protocol in a model's output; -1 where the model does not know the label."""

    def __init__(self, flows, labels, catalogue, weighted=True):
        protocols, self.matrix = evaluate.protocol_matrix(labels, catalogue)
        self.service = positions(flows.service, labels)
        self.protocol = positions(flows.protocol, protocols)
        self.weight = weights(flows) if weighted else np.ones(len(flows), dtype=np.float32)

    def tensors(self, device):
        return [torch.as_tensor(array, device=device) for array in (self.service, self.protocol, self.weight)]


def positions(names, known):
    index = {name: position for position, name in enumerate(known)}
    return np.array([index.get(name, -1) for name in names], dtype=np.int64)


def weights(flows, heaviest=HEAVIEST):
    """(repository, label)^-0.5, mean 1, capped."""
    return pair_weights(flows.repo, flows.service, heaviest)


def pair_weights(repos, names, heaviest=HEAVIEST):
    counts = Counter(zip(repos, names))
    weight = np.array([counts[key] ** -0.5 for key in zip(repos, names)])
    return np.minimum(weight / weight.mean(), heaviest).astype(np.float32)


def losses(logits, service, protocol, matrix, protocol_share):
    """Per flow: the shares of the two cross entropies; a level that the model does not know adds nothing."""
    log_probability = torch.log_softmax(logits, dim=1)
    of_service = -log_probability.gather(1, service.clamp(min=0)[:, None])[:, 0] * (service >= 0)
    outside = matrix.T[protocol.clamp(min=0)] == 0
    of_protocol = -torch.logsumexp(log_probability.masked_fill(outside, -1e9), dim=1) * (protocol >= 0)
    return (1 - protocol_share) * of_service + protocol_share * of_protocol


@dataclass
class Trained:
    network: torch.nn.Module  # on the CPU, ready to answer
    labels: list
    history: list


class Average:
    """The moving average of a network's parameters and statistics: steadier on strangers than any single epoch."""

    def __init__(self, network, decay):
        self.decay = decay
        self.steps = 0
        self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network):
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 10))  # the first weights are random: forget them soon
        for name, value in network.state_dict().items():
            if value.dtype.is_floating_point:
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)


def logits_of(network, packets, device):
    network.eval()
    parts = []
    with torch.no_grad():
        for start in range(0, len(packets), EVALUATION_BATCH):
            part = torch.as_tensor(packets[start : start + EVALUATION_BATCH], device=device)
            parts.append(network(part).float().cpu())
    return torch.cat(parts)


def train(flows, labels, catalogue, *, architecture, knobs, epochs, seed, length=SEQUENCE_LENGTH,
          columns=range(len(FEATURES)), device, checkpoint, watched=None, say=print):
    """Trains on `flows` for so many epochs; goes on from `checkpoint` if that is of the same run.

    `watched` flows are answered now and then, so that one sees how a network comes along; they decide nothing.
    """
    checkpoint = Path(checkpoint)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    columns = list(columns)
    started_as = fingerprint(architecture, flows, labels, seed, knobs, epochs, length, columns)

    torch.manual_seed(seed)
    evidence = PortEvidence(flows)
    network = architectures.build(architecture, len(labels), length, columns)
    network[0].fit(flows.packets, input_scale(flows, evidence))
    network.to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=knobs.learning_rate, weight_decay=knobs.weight_decay)
    average = Average(network, knobs.average)
    history = []

    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device)
        if saved["started_as"] == started_as:
            network.load_state_dict(saved["network"])
            optimiser.load_state_dict(saved["optimiser"])
            average.state, average.steps = saved["average"], saved["steps"]
            history = saved["history"]
            say(f"goes on after epoch {len(history)}")

    targets = Targets(flows, labels, catalogue, knobs.weighted)
    usable = np.flatnonzero((targets.service >= 0) | (targets.protocol >= 0))
    service, protocol, weight = (tensor[usable] for tensor in targets.tensors(device))
    packets = torch.as_tensor(flows.packets[usable], device=device)
    server_is_dst = torch.as_tensor(evidence.server_is_dst(flows)[usable], device=device)
    matrix = torch.as_tensor(targets.matrix, device=device)
    averaged = architectures.build(architecture, len(labels), length, columns).to(device)
    batches = -(-len(packets) // knobs.batch)

    for epoch in range(len(history) + 1, epochs + 1):
        begin = time.process_time() if device.type == "cpu" else time.monotonic()
        # A seed of its own for every epoch: a resumed run draws what an uninterrupted one would have drawn.
        torch.manual_seed(seed * 10_000 + epoch)
        generator = torch.Generator(device=device).manual_seed(seed * 10_000 + epoch)
        network.train()
        total = 0.0
        order = torch.randperm(len(packets), generator=generator, device=device)
        for step, chosen in enumerate(order.split(knobs.batch)):
            if len(chosen) < 2:
                continue  # batch normalisation needs two
            for group in optimiser.param_groups:
                group["lr"] = learning_rate(knobs, (epoch - 1) * batches + step, epochs * batches)
            batch = packets[chosen]
            if knobs.augmentation:
                batch = augment(batch, server_is_dst[chosen], generator, knobs.augmentation)
            each = losses(network(batch), service[chosen], protocol[chosen], matrix, knobs.protocol_share)
            loss = (each * weight[chosen]).sum() / weight[chosen].sum()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), knobs.clip)
            optimiser.step()
            average.update(network)
            total += loss.detach() * len(chosen)

        seconds = (time.process_time() if device.type == "cpu" else time.monotonic()) - begin
        row = {"epoch": epoch, "loss": round(float(total) / len(packets), 5), "seconds": round(seconds, 1)}
        averaged.load_state_dict(average.state)
        if watched is not None and (epoch % WATCH_EVERY == 0 or epoch == epochs):
            row.update(watch(averaged, watched, labels, catalogue, device))
        history.append(row)
        say(f"epoch {epoch}/{epochs}  " + "  ".join(f"{key} {value}" for key, value in row.items() if key != "epoch"))
        torch.save({"started_as": started_as, "network": network.state_dict(), "optimiser": optimiser.state_dict(),
                    "average": average.state, "steps": average.steps, "history": history},
                   checkpoint.with_suffix(".part"))
        checkpoint.with_suffix(".part").replace(checkpoint)

    averaged.load_state_dict(average.state)
    return Trained(averaged.cpu().eval(), labels, history)


def learning_rate(knobs, step, steps):
    """Constant, or one cycle: from a tenth up to the knob's and down to nothing, along cosines."""
    if not knobs.one_cycle:
        return knobs.learning_rate
    peak = WARM_UP * steps
    if step < peak:
        share = 0.1 + 0.9 * (1 - math.cos(math.pi * step / peak)) / 2
    else:
        share = (1 + math.cos(math.pi * (step - peak) / (steps - peak))) / 2
    return knobs.learning_rate * share


def watch(network, flows, labels, catalogue, device):
    answers = evaluate.answer(torch.softmax(logits_of(network, flows.packets, device), 1).numpy(), labels, catalogue)
    found = evaluate.scores(flows.protocol, answers.protocol)
    return {"accuracy": round(found["accuracy"], 4), "weighted_f1": round(found["weighted_f1"], 4)}


def fingerprint(architecture, flows, labels, seed, knobs, epochs, length, columns):
    """What decides the weights after an epoch."""
    parts = [architecture, flows.digest(), labels, seed, asdict(knobs), epochs, length, columns]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def probabilities(logits, temperature):
    return torch.softmax(logits / temperature, dim=1).numpy()


def fit_temperature(logits, flows, labels, catalogue):
    """The temperature at which the protocol's probability is right as often as it says, by likelihood.

    Fitted on flows of repositories that the network has not seen; weighted, as the loss is.
    """
    targets = Targets(flows, labels, catalogue)
    service, protocol, weight = targets.tensors("cpu")
    known = protocol >= 0
    matrix = torch.as_tensor(targets.matrix)

    def loss(temperature):
        each = losses(logits[known] / temperature, service[known], protocol[known], matrix, protocol_share=1.0)
        return float((each * weight[known]).sum())

    candidates = np.exp(np.linspace(np.log(0.3), np.log(5), 200))
    return float(min(candidates, key=loss))


def set_up(device):
    """One thread on a CPU: two were 2 to 15 times slower on a busy machine of two cores. On a GPU the same arithmetic
    as on a CPU: whole floats, and the same sums in each run.
    """
    if device == "cpu":
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
    else:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True
    return torch.device(device)
