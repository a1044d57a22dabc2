"""Training of `residual-prior`: behaviour first, ports as evidence that may be missing or wrong.

A flow's prior leaves its own repository out, so the network learns how far ports can be trusted on networks that it
has not seen. Some flows are shown without ports, some on a port that nobody knows, some with another flow's prior; and
behaviour has a loss of its own, so that it is learnt also where the port alone would do.
"""

import time
from dataclasses import asdict, dataclass

import numpy as np
import torch

from . import augment, evaluate, train
from .data import DST_PORT, GAP, PAYLOAD, SRC_PORT, WINDOW
from .ports import PortEvidence, Prior
from .residual import ResidualPrior

# -- knobs -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    epochs: int = 30
    confirmed: int = 3  # so few flows put a service in the vocabulary, where they are of two repositories
    draws: int = 18_000  # flows an epoch, drawn by their weights
    batch: int = 256
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    clip: float = 2.0
    average: float = 0.998  # of the weights, per step
    smoothing: float = 0.05
    service_share: float = 1.0  # of the loss
    protocol_share: float = 1.0
    class_share: float = 0.5
    behaviour_share: float = 0.5  # of the loss of behaviour alone, beside that of everything
    no_ports: float = 0.15  # shown without ports
    silent: float = 0.15  # on a port that nobody knows
    wrong: float = 0.05  # with the prior of another flow
    no_window: float = 0.3
    gaps: float = 0.5
    window: float = 0.3
    payload: float = 0.15
    segments: float = 0.15
    late_start: float = 0.15
    flipped: float = 0.05
    prefix: float = 0.35


PAYLOAD_SPREAD = 0.5  # payloads times e^U(-this, this)
# ----------------------------------------------------------------------------------------------------------------------


class Truth:
    """Targets at three levels; -1 where the model does not know the label."""

    def __init__(self, flows, labels, catalogue):
        protocols, protocol_matrix = evaluate.protocol_matrix(labels, catalogue)
        classes = sorted({catalogue[label].traffic_class for label in labels})
        class_matrix = np.array([[catalogue[label].traffic_class == name for name in classes] for label in labels])
        self.matrices = [None, torch.as_tensor(protocol_matrix), torch.as_tensor(class_matrix.astype(np.float32))]
        self.targets = torch.as_tensor(np.stack([
            train.positions(flows.service, labels), train.positions(flows.protocol, protocols),
            train.positions(flows.traffic_class, classes)], 1))

    def loss(self, logits, targets, recipe):
        """Cross entropies of service, protocol and class, smoothed, by their shares."""
        log_service = torch.log_softmax(logits, 1)
        total = 0.0
        shares = (recipe.service_share, recipe.protocol_share, recipe.class_share)
        for level, (matrix, share) in enumerate(zip(self.matrices, shares)):
            log = log_service if matrix is None else torch.log(log_service.exp() @ matrix + 1e-7)
            target, known = targets[:, level].clamp(min=0), (targets[:, level] >= 0).to(log.dtype)
            right = log.gather(1, target[:, None])[:, 0]
            if matrix is None:  # smoothing one level smooths the sums as well
                right = (1 - recipe.smoothing) * right + recipe.smoothing * log.mean(1)
            total = total - share * (right * known).mean()
        return total


def disturb(packets, server_is_dst, prior, recipe, generator):
    """A batch as strangers' networks would show it, with its prior; ports last, as they only say what the prior is."""
    batch = len(packets)

    def draw(probability):
        return torch.rand(batch, generator=generator) < probability

    def spread(chosen, width):
        uniform = torch.rand(batch, generator=generator) * 2 - 1
        return torch.where(chosen, torch.exp(uniform * width), torch.ones_like(uniform))[:, None]

    packets = packets.clone()
    packets[:, :, GAP] *= spread(draw(recipe.gaps), augment.GAP_RANGE)
    packets[:, :, WINDOW] = (packets[:, :, WINDOW] * spread(draw(recipe.window), augment.WINDOW_RANGE)).ceil().clamp(0, 65535)
    packets[:, :, PAYLOAD] = (packets[:, :, PAYLOAD] * spread(draw(recipe.payload), PAYLOAD_SPREAD)).ceil().clamp(0, 65535)
    packets = augment.cut_segments(packets, draw(recipe.segments), generator)
    packets = augment.start_late(packets, draw(recipe.late_start), generator)
    packets = augment.flip_roles(packets, draw(recipe.flipped))
    packets = augment.keep_prefix(packets, draw(recipe.prefix), generator)

    evidence, summary = prior
    other = torch.randperm(batch, generator=generator)
    wrong = draw(recipe.wrong)[:, None]
    evidence, summary = torch.where(wrong, evidence[other], evidence), torch.where(wrong, summary[other], summary)
    silent = draw(recipe.silent)
    augment.replace_port(packets, server_is_dst, silent, generator, ephemeral_only=False)
    heard = (~silent).to(evidence.dtype)[:, None]
    packets[:, :, [SRC_PORT, DST_PORT]] *= (~draw(recipe.no_ports)).to(packets.dtype)[:, None, None]
    window_given = (~draw(recipe.no_window)).to(packets.dtype)[:, None, None]
    return packets, (evidence * heard, summary * heard), window_given[:, :, 0]


def learn(flows, labels, catalogue, *, recipe, seed, say=print):
    """A network of these flows, uncalibrated, ready to answer."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    voters = PortEvidence(flows)
    prior = Prior(flows, labels, voters)
    network = ResidualPrior(len(labels), len(prior.summary) - 1)
    network.ports.fit(prior)
    truth = Truth(flows, labels, catalogue)
    usable = np.flatnonzero((truth.targets[:, :2] >= 0).any(1).numpy())
    evidence, summary = (torch.as_tensor(array[usable]) for array in prior.without_own(flows))
    weight = torch.as_tensor(train.weights(flows)[usable], dtype=torch.float64)
    packets, targets = torch.as_tensor(flows.packets[usable]), truth.targets[usable]
    server_is_dst = torch.as_tensor(voters.server_is_dst(flows)[usable])

    decayed = [value for value in network.parameters() if value.dim() > 1]
    others = [value for value in network.parameters() if value.dim() == 1]
    optimiser = torch.optim.AdamW([{"params": decayed, "weight_decay": recipe.weight_decay},
                                   {"params": others, "weight_decay": 0.0}], lr=recipe.learning_rate)
    average = train.Average(network, recipe.average)
    steps = recipe.epochs * (recipe.draws // recipe.batch)
    cycle = train.Knobs(learning_rate=recipe.learning_rate, one_cycle=True)
    network.train()
    begin, total = time.monotonic(), 0.0
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = train.learning_rate(cycle, step, steps)
        chosen = torch.multinomial(weight, recipe.batch, generator=generator)
        batch, own_prior, window_given = disturb(packets[chosen], server_is_dst[chosen],
                                                 (evidence[chosen], summary[chosen]), recipe, generator)
        said = network.say(batch, (*own_prior, network.ports(batch)[2]), window_given)
        loss = truth.loss(said.logits, targets[chosen], recipe)
        if recipe.behaviour_share:
            loss = loss + recipe.behaviour_share * truth.loss(said.behaviour, targets[chosen], recipe)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
        optimiser.step()
        average.update(network)
        total += loss.item()
        if (step + 1) % 250 == 0 or step + 1 == steps:
            say(f"step {step + 1}/{steps}  loss {total / (step % 250 + 1):.4f}  {time.monotonic() - begin:.0f} s")
            total = 0.0
    network.load_state_dict(average.state)
    return network.eval()


def describe(recipe):
    return asdict(recipe)


def without_ports(packets):
    """As `ntc eval --no-ports` asks."""
    packets = packets.copy()
    packets[:, :, [SRC_PORT, DST_PORT]] = 0
    return packets
