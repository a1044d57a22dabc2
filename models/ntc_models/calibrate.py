"""Trust in ports and temperatures, fitted on what networks say of repositories that they have not seen.

Every repository is held out by one of the five folds, so all of them count; parameters are few (two of trust, a
temperature for each state of the ports and number of packets), and the same for all folds.
"""

from dataclasses import dataclass

import torch

from .learn import Truth
from .residual import CELLS, Said, calibrated

# -- knobs -------------------------------------------------------------------------------------------------------------
STEPS = 60
PULL = 0.02  # of each temperature towards all others: few flows are in some cells
# ----------------------------------------------------------------------------------------------------------------------


@dataclass
class HeldOut:
    """What a network said of flows of repositories that it had not seen."""

    said: Said
    protocol: torch.Tensor  # -1 where unknown
    matrix: torch.Tensor  # [services, protocols]

    @classmethod
    def of(cls, said, flows, labels, catalogue):
        truth = Truth(flows, labels, catalogue)
        return cls(said, truth.targets[:, 1], truth.matrices[1])

    def loss(self, trust, temperature):
        """Sum of negative log likelihoods, and how many flows they are of: all count alike, as a confidence is a share of flows."""
        log = torch.log(torch.softmax(calibrated(self.said, trust, temperature), 1) @ self.matrix + 1e-9)
        known = self.protocol >= 0
        return -(log.gather(1, self.protocol.clamp(min=0)[:, None])[:, 0] * known).sum(), known.sum()


def fit(parts, with_trust=True):
    """Trust and temperatures that make the parts likeliest; without trust, what the network learnt is left at that."""
    trust = torch.tensor([0.5, 0.5] if with_trust else [0.0, 0.0], requires_grad=with_trust)
    common = torch.zeros(1, requires_grad=True)
    own = torch.zeros(CELLS, requires_grad=True)
    optimiser = torch.optim.LBFGS([*[trust] * with_trust, common, own], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        sums = [part.loss(trust, torch.exp(common + own)) for part in parts]
        loss = sum(loss for loss, _ in sums) / sum(count for _, count in sums) + PULL * (own**2).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    return trust.detach(), torch.exp(common + own).detach()


def say(network, packets, batch=1024):
    """What the network says of raw packets, uncalibrated."""
    network.eval()
    with torch.no_grad():
        parts = [network.say(torch.as_tensor(packets[at : at + batch])) for at in range(0, len(packets), batch)]
    return Said(*(torch.cat(columns) for columns in zip(*parts)))


def probabilities(said, trust, temperature):
    with torch.no_grad():
        return torch.softmax(calibrated(said, trust, temperature), 1).numpy()
