"""Training of `residual-prior`: behaviour first, ports as evidence that may be missing or wrong.

A flow's prior leaves its own repository out, so the network learns how far ports can be trusted on networks that it
has not seen. Some flows are shown without ports, some on a port that nobody knows, some with another flow's prior; and
behaviour has a loss of its own, so that it is learnt also where the port alone would do.
"""

import copy
import time
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from torch import nn

from . import augment, evaluate, residual, train
from . import catalogue as catalogue_of
from .data import DST_PORT, GAP, PAYLOAD, SRC_PORT, WINDOW
from .ports import CalledPorts, Prior

# -- knobs -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    epochs: int = 30
    confirmed: int = 3  # so few flows put a service in the vocabulary, where they are of two repositories
    shape: str = "full"  # of `residual.SHAPES`
    members: int = 1  # networks that answer together; each is learnt alone
    pull: float = 0.0  # share of a contrast that pulls vectors of one protocol's flows of several repositories together
    pretraining: int = 0  # steps that guess hidden payload sizes of flows without labels
    taught: float = 0.0  # share of a loss towards what networks of other seeds say, on the mean
    generated: float = 0.0  # of the draws: flows of `cargo xtask generate`; no port evidence comes of them
    unnamed: bool = True  # a label for each class's flows of protocols that are in no vocabulary
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
    near: bool = False  # a port that nobody was seen on has the evidence of those near it
    no_ports: float = 0.15  # shown without ports
    silent: float = 0.15  # on a port that nobody was seen on
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
CONTRAST_TEMPERATURE = 0.1
HIDDEN_SIZES = 0.2  # of the packets, in pretraining
# ----------------------------------------------------------------------------------------------------------------------


def with_unnamed(flows, labels, catalogue):
    """The flows under the names that a model of these labels has for them: what is of no protocol that it knows has its
    class's label for such flows, where there is one.
    """
    protocols = {catalogue[label].protocol for label in labels}
    other = [catalogue_of.unnamed(name) for name in flows.traffic_class]
    nameless = np.array([protocol not in protocols and name in labels for protocol, name in zip(flows.protocol, other)])
    return replace(flows, service=np.where(nameless, np.array(other, dtype=object), flows.service),
                   protocol=np.where(nameless, catalogue_of.UNKNOWN, flows.protocol))


class Truth:
    """Targets at three levels; -1 where the model does not know the label."""

    def __init__(self, flows, labels, catalogue):
        flows = with_unnamed(flows, labels, catalogue)
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


def disturb(packets, server_is_dst, prior, ports, recipe, generator):
    """A batch as strangers' networks would show it, with its prior; ports last, as they only say what the prior is.
    `ports` knows what is near one.
    """
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
    evidence, summary = (torch.where(silent[:, None], near, own)
                         for near, own in zip(ports.near(packets), (evidence, summary)))
    packets[:, :, [SRC_PORT, DST_PORT]] *= (~draw(recipe.no_ports)).to(packets.dtype)[:, None, None]
    window_given = (~draw(recipe.no_window)).to(packets.dtype)[:, None, None]
    return packets, (evidence, summary), window_given[:, :, 0]


def contrast(vectors, protocol, repo):
    """How far flows of one protocol from several repositories are from each other, beside all others of the batch
    (Khosla et al. 2020, supervised contrastive learning).
    """
    close = nn.functional.normalize(vectors, dim=1)
    itself = torch.eye(len(close), dtype=torch.bool, device=close.device)
    log = torch.log_softmax((close @ close.T / CONTRAST_TEMPERATURE).masked_fill(itself, -1e9), 1)
    pairs = (protocol[:, None] == protocol) & (repo[:, None] != repo) & (protocol >= 0)
    count = pairs.sum(1)
    return -((log * pairs).sum(1) / count.clamp(min=1))[count > 0].sum() / max(len(close), 1)


def taught(said, lessons):
    """How far what is said is from the mean of what the teachers say of the same batch, with ports and without (Hinton
    et al. 2015; no temperature: a teacher is unsure enough where ports are hidden).
    """
    total = 0.0
    for logits, of_teachers in ((said.logits, [one.logits for one in lessons]),
                                (said.behaviour, [one.behaviour for one in lessons])):
        wanted = sum(torch.softmax(one, 1) for one in of_teachers) / len(of_teachers)
        total = total - (wanted * torch.log_softmax(logits, 1)).sum(1).mean()
    return total


def pretrain(behaviour, packets, recipe, generator, device):
    """Behaviour's layers over packets, to start from: they guess the sizes of payloads that were hidden from them."""
    guess = nn.Linear(behaviour.attention.in_channels, residual.SIZE_BINS).to(device)
    optimiser = torch.optim.Adam([*behaviour.parameters(), *guess.parameters()], lr=recipe.learning_rate)
    behaviour.train()
    for _ in range(recipe.pretraining):
        batch = packets[torch.randint(len(packets), (recipe.batch,), generator=generator)].to(device)
        real = residual.real_packets(batch)
        tcp = (batch[:, :, WINDOW].amax(1, keepdim=True) > 0).to(batch.dtype)
        hidden = (torch.rand(real.shape, generator=generator) < HIDDEN_SIZES).to(device) & (real > 0)
        sizes = behaviour.bins.size_bin(batch[:, :, PAYLOAD])
        shown = batch.clone()
        shown[:, :, PAYLOAD] *= ~hidden
        _, value, there = behaviour.look(shown, real, tcp, 1.0)
        asked = hidden[:, : there.shape[1]]
        loss = nn.functional.cross_entropy(guess(value.transpose(1, 2)[asked]), sizes[:, : there.shape[1]][asked])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def learn(flows, labels, catalogue, *, recipe, seed, more=None, teachers=(), device="cpu", say=print):
    """A network of these flows, uncalibrated, ready to answer. `more` are flows of other origin, for the recipe's share
    of draws and for pretraining; `teachers` are networks of the same flows and labels.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    voters = CalledPorts(flows)
    truth = Truth(flows, labels, catalogue)
    flows = with_unnamed(flows, labels, catalogue)
    prior = Prior(flows, labels, voters, recipe.near)
    network = residual.ResidualPrior(len(labels), len(prior.summary) - 1, residual.SHAPES[recipe.shape])
    network.ports.fit(prior)
    tables = copy.deepcopy(network.ports)  # where batches are made
    (behaviour,) = (member.behaviour for member in network.members)
    usable = np.flatnonzero((truth.targets[:, :2] >= 0).any(1).numpy())
    evidence, summary = (torch.as_tensor(array[usable]) for array in prior.without_own(flows))
    weight = torch.as_tensor(train.weights(flows)[usable], dtype=torch.float64)
    packets, targets = torch.as_tensor(flows.packets[usable]), truth.targets[usable]
    server_is_dst = torch.as_tensor(voters.server_is_dst(flows)[usable])
    repo = torch.as_tensor(np.unique(flows.repo.astype(str), return_inverse=True)[1][usable])
    if recipe.generated:
        # What the vocabulary has no name for is left to people's captures: generated, it would be what a few programs do.
        more, known = named(more, labels, catalogue)
        rows = prior.row[prior.keys(more)].astype(int)
        share = torch.as_tensor(train.weights(more), dtype=torch.float64)
        weight = torch.cat([(1 - recipe.generated) * weight / weight.sum(), recipe.generated * share / share.sum()])
        packets, targets = torch.cat([packets, torch.as_tensor(more.packets)]), torch.cat([targets, known])
        evidence = torch.cat([evidence, torch.as_tensor(prior.log_evidence[rows])])
        summary = torch.cat([summary, torch.as_tensor(prior.summary[rows])])
        server_is_dst = torch.cat([server_is_dst, torch.as_tensor(voters.server_is_dst(more))])
        repo = torch.cat([repo, torch.full((len(more),), -1)])

    network.to(device)
    teachers = [copy.deepcopy(teacher).to(device).eval() for teacher in teachers]
    if recipe.pretraining:
        pretrain(behaviour, packets, recipe, generator, device)
    vectors = []
    hook = behaviour.register_forward_hook(lambda _, __, vector: vectors.append(vector) if recipe.pull else None)
    truth.matrices = [matrix if matrix is None else matrix.to(device) for matrix in truth.matrices]
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
                                                 (evidence[chosen], summary[chosen]), tables, recipe, generator)
        batch, own_prior = batch.to(device), [part.to(device) for part in own_prior]
        wanted = targets[chosen].to(device)
        shown = batch, (*own_prior, network.ports(batch)[2]), window_given.to(device)
        said = network.say(*shown)
        loss = truth.loss(said.logits, wanted, recipe)
        if recipe.behaviour_share:
            loss = loss + recipe.behaviour_share * truth.loss(said.behaviour, wanted, recipe)
        if recipe.taught:
            with torch.no_grad():
                lessons = [teacher.say(*shown) for teacher in teachers]
            loss = loss + recipe.taught * taught(said, lessons)
        if recipe.pull:
            loss = loss + recipe.pull * contrast(vectors.pop(), wanted[:, 1], repo[chosen].to(device))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
        optimiser.step()
        average.update(network)
        total += loss.detach()
        if (step + 1) % 250 == 0 or step + 1 == steps:
            say(f"step {step + 1}/{steps}  loss {total / (step % 250 + 1):.4f}  {time.monotonic() - begin:.0f} s")
            total = 0.0
    hook.remove()
    network.load_state_dict(average.state)
    return network.cpu().eval()


def named(flows, labels, catalogue):
    """The flows whose protocol a model of these labels has a name for, and their targets."""
    protocols = sorted({catalogue[label].protocol for label in labels})
    flows = flows[np.isin(flows.protocol.astype(str), protocols)]
    return flows, Truth(flows, labels, catalogue).targets


def describe(recipe):
    return asdict(recipe)


def without_ports(packets):
    """As `ntc eval --no-ports` asks."""
    packets = packets.copy()
    packets[:, :, [SRC_PORT, DST_PORT]] = 0
    return packets
