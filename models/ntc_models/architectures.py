"""The networks of Lopez-Martin et al. 2017 (doi 10.1109/ACCESS.2017.2747560), Table I, layer by layer.

A network takes raw packets [N, 20, 6] and gives logits [N, services]. `Normalise` is its first layer, so that an
exported graph takes what the agent records and no one has to repeat the arithmetic; `Classifier` adds temperature
and softmax for export.
"""

import numpy as np
import torch
from torch import nn

from .data import DIRECTION, DST_PORT, FEATURES, GAP, PAYLOAD, SEQUENCE_LENGTH, SRC_PORT, WINDOW
from .ports import PORTS

# Width of the port scale. Far wider than the other features: neighbouring ports are different services, and a network
# learns functions that are smooth in its input.
PORT_SPAN = 30.0

# Units of payload, window and gap before the logarithm: bytes, bytes, and milliseconds (the tensor has microseconds).
# Below a millisecond a gap tells of clocks and processors, not of the service: an agent's clock and a capture's differ
# by some microseconds, and the answer must not hang on them.
UNITS = (1.0, 1.0, 1e-3)


class Normalise(nn.Module):
    """Raw features to numbers near one, by constants that `fit` takes from training data; padding stays zero.

    Ports go through a table (see `ports.input_scale`); payload, window and gap are log(1 + x) in `UNITS`, standardised
    over real packets; direction becomes -1 and 1.
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("port_scale", torch.zeros(PORTS))
        self.register_buffer("units", torch.tensor(UNITS))
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("std", torch.ones(3))

    def fit(self, packets, port_scale):
        real = packets[:, :, [SRC_PORT, DST_PORT]].sum(2) > 0
        sizes = np.log1p(packets[real][:, [PAYLOAD, WINDOW, GAP]].astype(np.float64) * UNITS)
        self.mean.copy_(torch.as_tensor(sizes.mean(0)))
        self.std.copy_(torch.as_tensor(sizes.std(0).clip(min=1e-6)))
        self.port_scale.copy_(torch.as_tensor((port_scale - 0.5) * PORT_SPAN))
        return self

    def forward(self, packets):
        ports = packets[:, :, SRC_PORT : DST_PORT + 1]
        real = (ports.sum(2, keepdim=True) > 0).to(packets.dtype)
        ports = self.port_scale[ports.clamp(0, PORTS - 1).long()]
        sizes = packets[:, :, PAYLOAD : GAP + 1].clamp(min=0) * self.units
        sizes = (torch.log(1 + sizes) - self.mean) / self.std
        direction = packets[:, :, DIRECTION : DIRECTION + 1] * 2 - 1
        return torch.cat([ports, sizes, direction], dim=2) * real


class Image(nn.Module):
    """Packets by features, seen as an image of one channel."""

    def forward(self, packets):
        return packets.unsqueeze(1)


class Conv(nn.Sequential):
    """Conv(z, x, y, 1, V) and its ReLU; x runs along time, y along the features."""

    def __init__(self, channels, filters, time, features):
        super().__init__(nn.Conv2d(channels, filters, (time, features)), nn.ReLU())


class Steps(nn.Module):
    """[N, filters, time, features] to [N, time * features, filters]: the filters are what one step of the LSTM sees.

    Without the permutation a reshape to the same shape would mix time and filters.
    """

    def forward(self, image):
        return image.permute(0, 2, 3, 1).flatten(1, 2)


class LastState(nn.Module):
    """An LSTM that hands on its last hidden state."""

    def __init__(self, inputs, units):
        super().__init__()
        self.lstm = nn.LSTM(inputs, units, batch_first=True)

    def forward(self, steps):
        _, (hidden, _) = self.lstm(steps)
        return hidden[-1]


class Dense(nn.Sequential):
    """FC(n) and its ReLU."""

    def __init__(self, inputs, units):
        super().__init__(nn.Linear(inputs, units), nn.ReLU())


def cnn_rnn_2a(services):
    """Conv(32,4,2,1,V) - BN - Conv(64,4,2,1,V) - BN - LSTM(100) - DR(0.2) - FC(100) - DR(0.4) - FC(N)."""
    return nn.Sequential(
        Normalise(),  #           20 x 6
        Image(),  #           1 x 20 x 6
        Conv(1, 32, 4, 2),  # 32 x 17 x 5
        nn.BatchNorm2d(32),
        Conv(32, 64, 4, 2),  # 64 x 14 x 4
        nn.BatchNorm2d(64),
        Steps(),  #           56 x 64
        LastState(64, 100),  #    100
        nn.Dropout(0.2),
        Dense(100, 100),
        nn.Dropout(0.4),
        nn.Linear(100, services),
    )


# The name of each bundle's folder, and what makes its network.
ARCHITECTURES = {"cnn-rnn-2a": cnn_rnn_2a}
# Packets below which no convolution of the network has a place; a bundle is always given all 20.
MINIMUM_PACKETS = {"cnn-rnn-2a": 7}


def build(name, services):
    return ARCHITECTURES[name](services)


class Classifier(nn.Module):
    """What is exported: raw packets to calibrated probabilities."""

    def __init__(self, network, temperature):
        super().__init__()
        self.network = network
        self.register_buffer("temperature", torch.tensor(float(temperature)))

    def forward(self, packets):
        return torch.softmax(self.network(packets) / self.temperature, dim=1)


def example_input(batch=2):
    return torch.zeros(batch, SEQUENCE_LENGTH, len(FEATURES))
