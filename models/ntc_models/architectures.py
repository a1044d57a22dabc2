"""The nine networks of Lopez-Martin et al. 2017 (doi 10.1109/ACCESS.2017.2747560), Table I, layer by layer.

`TABLE_I` is the paper's table in the paper's notation, and `build` makes modules of its words. A network takes raw
packets [N, 20, 6] and gives logits [N, services]. `Normalise` is its first layer, so that an exported graph takes what
the agent records and no one has to repeat the arithmetic; `Classifier` adds temperature and softmax for export.
"""

import math
import re

import numpy as np
import torch
from torch import nn

from .data import DIRECTION, DST_PORT, FEATURES, GAP, PAYLOAD, SEQUENCE_LENGTH, SRC_PORT, WINDOW
from .ports import PORTS

# Width of the port scale. Far wider than the other features: neighbouring ports are different services, and a network
# learns functions that are smooth in its input.
PORT_SPAN = 30.0

# The layers in the paper's words. Conv(z,x,y,n,m): z filters, window x along time by y along the features, stride n,
# m = V (VALID) or S (SAME padding); MaxPool(x,y,n,m) likewise; BN batch normalisation, DR dropout, FC fully connected,
# N the number of services. A ReLU follows every Conv and every FC but the last. Between Conv and LSTM stands `Steps`;
# an LSTM before another one hands on its whole sequence, any other its last state.
_CNN_1 = "Conv(32,4,2,1,V) - MaxPool(3,2,1,V) - BN - Conv(64,4,2,1,V) - MaxPool(3,2,1,V) - BN"
_CNN_2 = "Conv(32,4,2,1,V) - BN - Conv(64,4,2,1,V) - BN"
_CNN_3 = "Conv(16,4,2,1,V) - BN - Conv(32,4,2,1,V) - BN - Conv(64,4,2,1,V) - BN - Conv(128,4,2,1,V) - BN"
_CNN_4 = ("Conv(32,3,2,1,S) - BN - Conv(32,3,2,1,S) - MaxPool(2,2,2,S) - BN - Conv(64,3,2,1,S) - BN - "
          "Conv(64,3,2,1,S) - MaxPool(2,2,2,S) - BN - Conv(128,3,2,1,S) - Conv(64,1,1,1,S)")
TABLE_I = {
    "rnn-1": "LSTM(100) - FC(100) - FC(N)",
    "cnn-1": f"{_CNN_1} - FC(200) - FC(N)",
    "cnn-rnn-1": f"{_CNN_1} - LSTM(100) - FC(100) - FC(N)",
    "cnn-rnn-2": f"{_CNN_2} - LSTM(100) - FC(100) - FC(N)",
    "cnn-rnn-2a": f"{_CNN_2} - LSTM(100) - DR(0.2) - FC(100) - DR(0.4) - FC(N)",
    "cnn-rnn-3": f"{_CNN_3} - LSTM(100) - DR(0.1) - LSTM(200) - DR(0.3) - FC(200) - DR(0.5) - FC(N)",
    "cnn-rnn-3a": f"{_CNN_3} - LSTM(100) - DR(0.2) - LSTM(200) - DR(0.4) - FC(200) - DR(0.5) - FC(N)",
    "cnn-rnn-4": f"{_CNN_4} - LSTM(100) - DR(0.1) - LSTM(200) - DR(0.3) - FC(200) - DR(0.5) - FC(N)",
    "cnn-rnn-5": f"{_CNN_4} - LSTM(100) - DR(0.1) - LSTM(150) - DR(0.3) - FC(150) - DR(0.5) - FC(N)",
}
# Networks to compare with: the reshape that re-implementations of the paper get wrong, and no structure at all.
BASELINES = {
    "cnn-rnn-2a-wrong-reshape": TABLE_I["cnn-rnn-2a"].replace("LSTM", "Reshape - LSTM"),
    "mlp": "FC(256) - DR(0.2) - FC(128) - DR(0.2) - FC(N)",
}
ARCHITECTURES = TABLE_I | BASELINES

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


class Select(nn.Module):
    """The first packets, and the columns of some features."""

    def __init__(self, length, columns):
        super().__init__()
        self.length = length
        self.columns = list(columns)

    def forward(self, packets):
        return packets[:, : self.length, self.columns]


class Image(nn.Module):
    """Packets by features, seen as an image of one channel."""

    def forward(self, packets):
        return packets.unsqueeze(1)


class Conv(nn.Sequential):
    """Conv(z,x,y,1,m) and its ReLU; x runs along time, y along the features.

    SAME padding of an even window is one wider behind than before, as in TensorFlow.
    """

    def __init__(self, channels, filters, time, features, same=False):
        before, behind = ((time - 1) // 2, (features - 1) // 2), (time // 2, features // 2)
        padding = [nn.ZeroPad2d((before[1], behind[1], before[0], behind[0]))] if same and time * features > 1 else []
        super().__init__(*padding, nn.Conv2d(channels, filters, (time, features)), nn.ReLU())


class Steps(nn.Module):
    """[N, filters, time, features] to [N, time * features, filters]: the filters are what one step of the LSTM sees.

    Without the permutation a reshape to the same shape would mix time and filters.
    """

    def forward(self, image):
        return image.permute(0, 2, 3, 1).flatten(1, 2)


class WrongSteps(nn.Module):
    """That mistake, for comparison: the shape of `Steps`, but a step sees pieces of some filters' pictures."""

    def forward(self, image):
        return image.flatten(1).unflatten(1, (image.shape[2] * image.shape[3], image.shape[1]))


class LastState(nn.Module):
    """An LSTM that hands on its last hidden state."""

    def __init__(self, inputs, units):
        super().__init__()
        self.lstm = nn.LSTM(inputs, units, batch_first=True)

    def forward(self, steps):
        _, (hidden, _) = self.lstm(steps)
        return hidden[-1]


class Sequence(nn.Module):
    """An LSTM that hands on its state after every step."""

    def __init__(self, inputs, units):
        super().__init__()
        self.lstm = nn.LSTM(inputs, units, batch_first=True)

    def forward(self, steps):
        return self.lstm(steps)[0]


class Dense(nn.Sequential):
    """FC(n) and its ReLU."""

    def __init__(self, inputs, units):
        super().__init__(nn.Linear(inputs, units), nn.ReLU())


def words(name):
    """The layers of an architecture as (word, arguments); numbers are numbers, N, V and S stay letters."""
    found = []
    for word, arguments in re.findall(r"(\w+)(?:\(([^)]*)\))?", ARCHITECTURES[name]):
        parts = [part for part in arguments.split(",") if part]
        found.append((word, [part if part.isalpha() else float(part) if "." in part else int(part) for part in parts]))
    return found


def window(shape, time, features, stride, padding):
    """What a window leaves of an image's time and feature axes."""
    if padding == "S":
        return tuple(-(-axis // stride) for axis in shape)
    left = tuple((axis - size) // stride + 1 for axis, size in zip(shape, (time, features)))
    if min(left) < 1:
        raise ValueError(f"a window of {time} by {features} finds no place in {shape[0]} packets by {shape[1]}")
    return left


def build(name, services, length=SEQUENCE_LENGTH, columns=range(len(FEATURES))):
    """The network of an architecture, for the first `length` packets and the features in `columns`.

    ValueError where a convolution would find no place.
    """
    columns = list(columns)
    layers = [Normalise()]
    if (length, columns) != (SEQUENCE_LENGTH, list(range(len(FEATURES)))):
        layers.append(Select(length, columns))
    shape = (length, len(columns))  # then (filters, time, features), (steps, width) and (width,)
    todo = words(name)
    for place, (word, arguments) in enumerate(todo):
        if word in ("Conv", "MaxPool") and len(shape) == 2:
            layers.append(Image())
            shape = (1, *shape)
        if word in ("LSTM", "Reshape") and len(shape) == 3:
            layers.append(Steps() if word == "LSTM" else WrongSteps())
            shape = (shape[1] * shape[2], shape[0])
        if word == "FC" and len(shape) > 1:
            layers.append(nn.Flatten())
            shape = (math.prod(shape),)

        if word == "Conv":
            filters, time, features, stride, padding = arguments
            if stride != 1:
                raise ValueError("the paper's convolutions have stride 1")
            layers.append(Conv(shape[0], filters, time, features, same=padding == "S"))
            shape = (filters, *window(shape[1:], *arguments[1:]))
        elif word == "MaxPool":
            time, features, stride, padding = arguments
            layers.append(nn.MaxPool2d((time, features), stride, ceil_mode=padding == "S"))
            shape = (shape[0], *window(shape[1:], *arguments))
        elif word == "BN":
            layers.append(nn.BatchNorm2d(shape[0]))
        elif word == "LSTM":
            (units,) = arguments
            again = any(later == "LSTM" for later, _ in todo[place + 1 :])
            layers.append((Sequence if again else LastState)(shape[1], units))
            shape = (shape[0], units) if again else (units,)
        elif word == "DR":
            layers.append(nn.Dropout(*arguments))
        elif word == "FC":
            last = place + 1 == len(todo)
            units = services if arguments == ["N"] else arguments[0]
            layers.append((nn.Linear if last else Dense)(shape[0], units))
            shape = (units,)
        elif word != "Reshape":
            raise ValueError(f"no layer is called {word}")
    return nn.Sequential(*layers)


def minimum_packets(name, features=len(FEATURES)):
    """The fewest packets with which every convolution finds a place; a bundle is always given all 20."""
    for length in range(1, SEQUENCE_LENGTH + 1):
        try:
            build(name, 2, length, range(features))
            return length
        except ValueError:
            continue
    raise ValueError(f"{name} has no place for {features} features")


def parameters(network):
    """What training may change."""
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(network):
    """Of one flow, in convolutions, LSTMs and fully connected layers."""
    total = 0

    def count(layer, inputs, output):
        nonlocal total
        if isinstance(layer, (nn.Conv1d, nn.Conv2d)):
            total += layer.weight.numel() * math.prod(output.shape[2:])
        elif isinstance(layer, nn.LSTM):
            total += inputs[0].shape[1] * sum(weight.numel() for weight in layer._flat_weights if weight.dim() == 2)
        elif isinstance(layer, nn.Linear):
            total += layer.weight.numel()

    hooks = [layer.register_forward_hook(count) for layer in network.modules()]
    training = network.training
    with torch.no_grad():
        network.eval()(example_input(1))
    network.train(training)
    for hook in hooks:
        hook.remove()
    return total


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
