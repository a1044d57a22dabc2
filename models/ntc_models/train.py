"""One network, trained: Adam, cross entropy, 60 to 90 epochs, stopped when the last ten did not improve the
validation loss.

The loss is the mean of two cross entropies, of the service and of its protocol (the summed probability of the
protocol's services): answers are judged at both levels, and flows of services too rare for the vocabulary still
teach their protocol. Each (repository, label) weighs with the root of its flows, so that one large capture does not
outvote ninety small ones. The network that is kept is a moving average of the weights.
"""

import hashlib
import json
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from . import architectures, evaluate
from .augment import Knobs as Augmentation
from .augment import augment
from .ports import PortEvidence, input_scale

# -- knobs -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Knobs:
    min_epochs: int = 60
    max_epochs: int = 90
    patience: int = 10
    batch: int = 256
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    clip: float = 2.0
    average: float = 0.998  # of the weights, per step
    protocol_share: float = 0.5  # of the loss
    augmentation: Augmentation = field(default_factory=Augmentation)


HEAVIEST = 8.0  # weight of a flow, the mean being 1
EVALUATION_BATCH = 1024
# ----------------------------------------------------------------------------------------------------------------------


class Targets:
    """Indices of service and protocol in a model's output; -1 where the model does not know the label."""

    def __init__(self, flows, labels, catalogue):
        protocols, self.matrix = evaluate.protocol_matrix(labels, catalogue)
        self.service = positions(flows.service, labels)
        self.protocol = positions(flows.protocol, protocols)
        self.weight = weights(flows)

    def tensors(self, device):
        return [torch.as_tensor(array, device=device) for array in (self.service, self.protocol, self.weight)]


def positions(names, known):
    index = {name: position for position, name in enumerate(known)}
    return np.array([index.get(name, -1) for name in names], dtype=np.int64)


def weights(flows, heaviest=HEAVIEST):
    """(repository, label)^-0.5, mean 1, capped."""
    counts = Counter(zip(flows.repo, flows.service))
    weight = np.array([counts[key] ** -0.5 for key in zip(flows.repo, flows.service)])
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
    epochs: int
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


def train(architecture, flows, labels, catalogue, *, name, seed, device, work, knobs=Knobs(), validation=None,
          epochs=None):
    """Trains on `flows`; stops by `validation`, or after `epochs` where there is none. Resumes from `work`.

    `work` is a folder for this run's checkpoint; an unfinished run with the same knobs and data goes on there.
    """
    work = Path(work)
    work.mkdir(parents=True, exist_ok=True)
    started_as = fingerprint(architecture, flows, labels, seed, knobs, validation)
    checkpoint = work / f"{name}.pt"
    last_epoch = epochs or knobs.max_epochs

    torch.manual_seed(seed)
    evidence = PortEvidence(flows)
    network = architectures.build(architecture, len(labels))
    network[0].fit(flows.packets, input_scale(flows, evidence))
    network.to(device)
    averaged = architectures.build(architecture, len(labels)).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=knobs.learning_rate, weight_decay=knobs.weight_decay)
    average = Average(network, knobs.average)
    history = []

    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device)
        if saved["started_as"] == started_as and len(saved["history"]) <= last_epoch:
            network.load_state_dict(saved["network"])
            optimiser.load_state_dict(saved["optimiser"])
            average.state, average.steps = saved["average"], saved["steps"]
            history = saved["history"]
            print(f"{name}: goes on after epoch {len(history)}", flush=True)

    targets = Targets(flows, labels, catalogue)
    usable = np.flatnonzero((targets.service >= 0) | (targets.protocol >= 0))
    service, protocol, weight = (tensor[usable] for tensor in targets.tensors(device))
    packets = torch.as_tensor(flows.packets[usable], device=device)
    server_is_dst = torch.as_tensor(evidence.server_is_dst(flows)[usable], device=device)
    matrix = torch.as_tensor(targets.matrix, device=device)

    def finished():
        if len(history) >= last_epoch or validation is None:
            return len(history) >= last_epoch
        return len(history) >= knobs.min_epochs and len(history) - best_epoch(history) >= knobs.patience

    begin = time.monotonic()
    first = len(history)
    while not finished():
        epoch = len(history) + 1
        # A seed of its own for every epoch: a resumed run draws what an uninterrupted one would have drawn.
        torch.manual_seed(seed * 10_000 + epoch)
        generator = torch.Generator(device=device).manual_seed(seed * 10_000 + epoch)
        network.train()
        total = 0.0
        for chosen in torch.randperm(len(packets), generator=generator, device=device).split(knobs.batch):
            if len(chosen) < 2:
                continue  # batch normalisation needs two
            batch = augment(packets[chosen], server_is_dst[chosen], generator, knobs.augmentation)
            each = losses(network(batch), service[chosen], protocol[chosen], matrix, knobs.protocol_share)
            loss = (each * weight[chosen]).sum() / weight[chosen].sum()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), knobs.clip)
            optimiser.step()
            average.update(network)
            total += loss.detach() * len(chosen)

        row = {"epoch": epoch, "loss": round(float(total) / len(packets), 5)}
        averaged.load_state_dict(average.state)
        if validation is not None:
            row.update(validate(averaged, validation, labels, catalogue, device, knobs))
        history.append(row)
        report(name, row, last_epoch, (time.monotonic() - begin) / (epoch - first))
        torch.save({"started_as": started_as, "network": network.state_dict(), "optimiser": optimiser.state_dict(),
                    "average": average.state, "steps": average.steps, "history": history},
                   checkpoint.with_suffix(".part"))
        checkpoint.with_suffix(".part").replace(checkpoint)

    averaged.load_state_dict(average.state)
    return Trained(averaged.cpu().eval(), labels, len(history), history)


def best_epoch(history):
    return min(history, key=lambda row: row["validation_loss"])["epoch"]


def validate(network, flows, labels, catalogue, device, knobs):
    logits = logits_of(network, flows.packets, device)
    targets = Targets(flows, labels, catalogue)
    service, protocol, weight = targets.tensors("cpu")
    known = (service >= 0) | (protocol >= 0)
    each = losses(logits, service, protocol, torch.as_tensor(targets.matrix), knobs.protocol_share)
    answers = evaluate.answer(torch.softmax(logits, 1).numpy(), labels, catalogue)
    return {
        "validation_loss": round(float((each * weight)[known].sum() / weight[known].sum()), 5),
        "protocol_accuracy": round(float((answers.protocol == flows.protocol).mean()), 4),
    }


def report(name, row, last_epoch, seconds):
    left = (last_epoch - row["epoch"]) * seconds / 60
    figures = "  ".join(f"{key.replace('_', ' ')} {value}" for key, value in row.items() if key != "epoch")
    print(f"{name}: epoch {row['epoch']}/{last_epoch}  {figures}  {seconds:.1f} s an epoch, at most "
          f"{left:.0f} min left", flush=True)


def fingerprint(architecture, flows, labels, seed, knobs, validation):
    """What decides the weights after an epoch; when to stop does not, so a run may be made longer later."""
    stopping = ("min_epochs", "max_epochs", "patience")
    recipe = {name: value for name, value in asdict(knobs).items() if name not in stopping}
    watched = validation.digest() if validation is not None else None
    parts = [architecture, flows.digest(), labels, seed, recipe, watched]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


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
    """One thread on a CPU: two were 2 to 15 times slower on a busy machine of two cores."""
    if device == "cpu":
        torch.set_num_threads(1)
    return torch.device(device)
