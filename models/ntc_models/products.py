"""`residual-prior` as it is exported: the same function, with each convolution a product over the whole batch.

    [N, packets, channels] - the packets before, at and after each place, side by side - x [3 channels, width]

ONNX Runtime multiplies a convolution along one axis flow by flow: matrices of twelve columns, of which much is lost.
"""

import copy

import torch
from torch import nn

from .residual import Behaviour, ResidualPrior


def of(network):
    """A copy to be exported, of a network that convolves; any other network as it is."""
    if not isinstance(network, ResidualPrior) or network.shape.recurrent:
        return network
    network = copy.deepcopy(network)
    for member in network.members:
        member.behaviour = Products(network.shape, member.behaviour)
    return network


class Product(nn.Module):
    """A convolution of three packets and the normalisation behind it, in evaluation: [N, packets, width]."""

    def __init__(self, convolution, norm):
        super().__init__()
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        kernel = convolution.weight * scale[:, None, None]  # [width, channels, 3]
        self.dilation = convolution.dilation[0]
        self.register_buffer("kernel", kernel.permute(2, 1, 0).flatten(0, 1).detach())
        self.register_buffer("bias", (norm.bias - norm.running_mean * scale).detach())

    def forward(self, value):
        packets, reach = value.shape[1], self.dilation
        nothing = value[:, :reach] * 0
        padded = torch.cat([nothing, value, nothing], 1)
        beside = torch.cat([padded[:, :packets], value, padded[:, 2 * reach :]], 2)
        return torch.matmul(beside, self.kernel) + self.bias


class Products(Behaviour):
    """A `Behaviour` that looks at packets in another way."""

    def __init__(self, shape, behaviour):
        super().__init__(shape)
        self.load_state_dict(behaviour.state_dict())
        self.stem_product = Product(self.stem, self.stem_norm)
        self.block_products = nn.ModuleList([
            nn.ModuleList([Product(block.first, block.first_norm), Product(block.second, block.second_norm)])
            for block in self.blocks])

    def look(self, packets, real, tcp, window_given):
        looked, there = packets[:, : self.looked_at], real[:, : self.looked_at]
        mask = there.unsqueeze(2)
        binned = self.bins(looked, there, tcp, window_given) * mask
        value = torch.relu(self.stem_product(binned)) * mask
        for first, second in self.block_products:
            inner = torch.relu(first(value)) * mask
            value = torch.relu(value + second(inner)) * mask
        return binned, value.transpose(1, 2), there
