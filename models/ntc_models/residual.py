"""`residual-prior`: residual networks over the first packets, and what ports say as a prior on their logits.

Raw packets [N, 20, 6] in, logits [N, services] out: the mean of a few small networks, trained apart, as what one gets
wrong another does not. In each two answers are added up:

    behaviour  sizes, gaps, windows and directions through masked residual convolutions; ports have no part in it
    ports      what repositories saw on (protocol, server port): log evidence on the logits, by a gate of its own

No port is an input by number, so none can be learnt by heart: all that is known of ports goes through `ports.Prior`,
which leaves a flow's own repository out while training. A flow whose ports are zero has no prior: that is the switch.
Padding changes nothing: every layer over packets is masked.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from .data import DIRECTION, DST_PORT, GAP, PAYLOAD, SEQUENCE_LENGTH, SRC_PORT, WINDOW
from .ports import PORTS, called

# -- knobs -------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Shape:
    """How large a network is."""

    looked_at: int = 12  # packets that go through the convolutions; sums are over all 20
    width: int = 32
    dilations: tuple = (1, 2)  # one residual block each
    recurrent: bool = False  # an LSTM in their place
    queries: int = 2  # of the attention
    opening: int = 24  # width of the look at the first three packets
    hidden: int = 96
    port_width: int = 32


WIDE = Shape(width=48, dilations=(1, 2, 4), hidden=128)  # to compare with: more work than two of the default's
SHAPES = {"full": Shape(), "wide": WIDE, "recurrent": replace(WIDE, recurrent=True),
          "small": Shape(looked_at=8, width=16, dilations=(1,), queries=1, opening=16, hidden=48, port_width=12)}
DROPOUT = 0.3
EXACT_BYTES = 48  # up to here every payload size is a bin, then four an octave
SIZE_BINS, GAP_BINS, WINDOW_BINS = 72, 30, 18
SIZE_WIDTH, GAP_WIDTH, WINDOW_WIDTH = 16, 8, 6
GATE = 0.5  # of the prior, before training
TEMPERATURE_PACKETS = (1, 2, 4, 8, 20)  # a temperature of its own up to each number of packets
# ----------------------------------------------------------------------------------------------------------------------

NAME = "residual-prior"
OPENING_PACKETS = 3
PORT_STATES = ("evidence", "near", "silent", "none")  # ports with evidence, near such, without, and no ports given
NUMBERS = 9  # per packet, beside the bins
FLOW_NUMBERS = 12
SUMMARY = 4  # numbers that `ports.Prior` has of a port beside its log evidence
ABOUT = 4  # of how high the ports are, and at which end the server is
CELLS = len(PORT_STATES) * len(TEMPERATURE_PACKETS)


def real_packets(packets):
    """1 for packets, 0 for padding, [N, 20]: up to the last that has anything in it. The first is always one.

    Not by ports: they are zero where the model is asked to do without them.
    """
    place = torch.arange(1, SEQUENCE_LENGTH + 1, device=packets.device, dtype=packets.dtype)
    last = ((packets.abs().sum(2) > 0).to(packets.dtype) * place).amax(1, keepdim=True)
    return (place <= last.clamp(min=1)).to(packets.dtype)


class Bins(nn.Module):
    """Embeddings of signed payload size, gap and window, and nine numbers: [N, packets, channels]."""

    def __init__(self):
        super().__init__()
        self.size = nn.Embedding(2 * SIZE_BINS, SIZE_WIDTH)
        self.gap = nn.Embedding(GAP_BINS, GAP_WIDTH)
        self.window = nn.Embedding(WINDOW_BINS, WINDOW_WIDTH)
        self.channels = SIZE_WIDTH + GAP_WIDTH + WINDOW_WIDTH + NUMBERS

    def forward(self, packets, real, tcp, window_given):
        payload = packets[:, :, PAYLOAD].clamp(0, 65535)
        log_size = torch.log(1 + payload)
        reply = packets[:, :, DIRECTION]
        size = self.size_bin(payload)
        log_gap = torch.log(1 + packets[:, :, GAP].clamp(0, 1e9))
        gap = (1.5 * log_gap).floor().clamp(max=GAP_BINS - 1)
        log_window = torch.log(1 + packets[:, :, WINDOW].clamp(0, 65535)) / 0.6931472
        log_window = log_window * window_given
        window = ((log_window + 1).floor().clamp(max=WINDOW_BINS - 1)) * tcp * window_given

        sign = 1 - 2 * reply
        forth = torch.cumsum(payload * (1 - reply) * real, 1)
        back = torch.cumsum(payload * reply * real, 1)
        place = torch.arange(packets.shape[1], device=packets.device, dtype=packets.dtype) / SEQUENCE_LENGTH
        numbers = torch.stack([sign * log_size / 8, log_gap / 10, torch.log(1 + forth) / 10, torch.log(1 + back) / 10,
                               payload / 1500, sign, place.expand_as(sign), (payload > 0).to(packets.dtype),
                               log_window / 16], 2)
        embedded = [self.size(size + (SIZE_BINS * reply).long()), self.gap(gap.long()), self.window(window.long())]
        return torch.cat([*embedded, numbers], 2)

    @staticmethod
    def size_bin(payload):
        octaves = EXACT_BYTES + 4 * (torch.log(payload.clamp(min=EXACT_BYTES) / EXACT_BYTES) / 0.6931472)
        return torch.where(payload < EXACT_BYTES, payload, octaves).floor().clamp(0, SIZE_BINS - 1).long()


class Block(nn.Module):
    """Two masked convolutions of three packets and a way around them."""

    def __init__(self, width, dilation):
        super().__init__()
        self.first = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation, bias=False)
        self.first_norm = nn.BatchNorm1d(width)
        self.second = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation, bias=False)
        self.second_norm = nn.BatchNorm1d(width)

    def forward(self, value, real):
        inner = torch.relu(self.first_norm(self.first(value))) * real
        return torch.relu(value + self.second_norm(self.second(inner))) * real


class Recurrent(nn.Module):
    """Two LSTM layers in place of the blocks, to compare with; padding comes after the packets and is masked."""

    def __init__(self, width):
        super().__init__()
        self.lstm = nn.LSTM(width, width, 2, batch_first=True)

    def forward(self, value, real):
        return self.lstm(value.transpose(1, 2))[0].transpose(1, 2) * real


class Behaviour(nn.Module):
    """All that a flow says without its ports, as one vector."""

    def __init__(self, shape):
        super().__init__()
        width = shape.width
        self.looked_at = shape.looked_at
        self.bins = Bins()
        self.stem = nn.Conv1d(self.bins.channels, width, 3, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm1d(width)
        self.blocks = nn.ModuleList([Recurrent(width)] if shape.recurrent
                                    else [Block(width, dilation) for dilation in shape.dilations])
        self.attention = nn.Conv1d(width, shape.queries, 1)
        self.opening = nn.Linear(OPENING_PACKETS * self.bins.channels, shape.opening)
        inputs = (shape.queries + 2) * width + shape.opening + FLOW_NUMBERS
        self.hidden = nn.Linear(inputs, shape.hidden, bias=False)
        self.hidden_norm = nn.BatchNorm1d(shape.hidden)
        self.dropout = nn.Dropout(DROPOUT)

    def look(self, packets, real, tcp, window_given):
        """The packets looked at, binned [N, packets, channels] and convolved [N, width, packets], and which are real."""
        looked, there = packets[:, : self.looked_at], real[:, : self.looked_at]
        binned = self.bins(looked, there, tcp, window_given) * there.unsqueeze(2)
        mask = there.unsqueeze(1)
        value = torch.relu(self.stem_norm(self.stem(binned.transpose(1, 2)))) * mask
        for block in self.blocks:
            value = block(value, mask)
        return binned, value, there

    def forward(self, packets, real, window_given):
        tcp = (packets[:, :, WINDOW].amax(1, keepdim=True) > 0).to(packets.dtype)
        binned, value, there = self.look(packets, real, tcp, window_given)
        mask = there.unsqueeze(1)
        weight = torch.softmax(self.attention(value) + (mask - 1) * 1e4, 2)
        attended = torch.matmul(weight, value.transpose(1, 2)).flatten(1)
        mean = value.sum(2) / there.sum(1, keepdim=True)
        opening = torch.relu(self.opening(binned[:, :OPENING_PACKETS].flatten(1)))
        vector = torch.cat([attended, mean, value.amax(2), opening, self.flow_numbers(packets, real, tcp)], 1)
        return self.dropout(torch.relu(self.hidden_norm(self.hidden(vector))))

    @staticmethod
    def flow_numbers(packets, real, tcp):
        payload, reply = packets[:, :, PAYLOAD], packets[:, :, DIRECTION]
        columns = [real.sum(1) / SEQUENCE_LENGTH]
        for end in (1 - reply, reply):
            end = end * real
            count = end.sum(1)
            filled = (end * (payload > 0).to(payload.dtype)).sum(1)
            bytes_ = (payload * end).sum(1)
            columns += [count / 10, filled / 10, torch.log(1 + bytes_) / 10,
                        torch.log(1 + bytes_ / filled.clamp(min=1)) / 8]
        gaps = packets[:, :, GAP] * real
        columns += [torch.log(1 + gaps.sum(1)) / 15, torch.log(1 + gaps.amax(1)) / 15, tcp[:, 0]]
        return torch.stack(columns, 1)


class Ports(nn.Module):
    """What the ports say, from tables that `fit` takes from training data: log evidence [N, services], a summary
    [N, 4], and whether the first packet's destination is the server.
    """

    def __init__(self, services, rows):
        super().__init__()
        self.register_buffer("votes", torch.zeros(2 * PORTS))  # of TCP, then of UDP
        self.register_buffer("row", torch.zeros(2 * PORTS))  # of the tables below; 0: silent
        self.register_buffer("evidence", torch.zeros(rows + 1, services))
        self.register_buffer("summary", torch.zeros(rows + 1, SUMMARY))

    def fit(self, prior):
        self.votes.copy_(torch.as_tensor(np.concatenate([prior.voters.votes[6], prior.voters.votes[17]])))
        self.row.copy_(torch.as_tensor(prior.row))
        self.evidence.copy_(torch.as_tensor(prior.log_evidence))
        self.summary.copy_(torch.as_tensor(prior.summary))
        return self

    def forward(self, packets):
        src, dst = packets[:, 0, SRC_PORT], packets[:, 0, DST_PORT]
        offset = PORTS * (1 - (packets[:, :, WINDOW].amax(1) > 0).to(packets.dtype))
        at_src, at_dst = ((port.clamp(0, PORTS - 1) + offset).long() for port in (src, dst))
        server_is_dst = called(packets, self.votes[at_src], self.votes[at_dst])
        row = torch.where(server_is_dst, self.row[at_dst], self.row[at_src]).long()
        return self.evidence[row], self.summary[row], server_is_dst

    def near(self, packets):
        """What is near ports that nobody was seen on; zero of all others."""
        evidence, summary, _ = self(packets)
        return evidence * summary[:, 3:], summary * summary[:, 3:]


class Said(NamedTuple):
    """What the network says of flows before it is calibrated."""

    behaviour: torch.Tensor  # logits without ports
    logits: torch.Tensor  # with them
    evidence: torch.Tensor  # of the port itself: how far to trust what is near is left at what was learnt
    groups: torch.Tensor  # log of the repositories behind the evidence
    cell: torch.Tensor  # place in the temperatures: state of the ports, number of packets


class Member(nn.Module):
    """One of the networks: what behaviour says, and what behaviour and ports say together."""

    def __init__(self, services, shape):
        super().__init__()
        hidden, half = shape.hidden, shape.hidden // 2
        self.behaviour = Behaviour(shape)
        self.of_behaviour = nn.Linear(hidden, services)
        self.port_vector = nn.Linear(services + SUMMARY + len(PORT_STATES) + ABOUT, shape.port_width)
        self.joined = nn.Linear(hidden + shape.port_width, half)
        self.of_both = nn.Linear(half, services)
        self.gate = nn.Linear(half + SUMMARY, 1)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, GATE)

    def forward(self, packets, real, window_given, evidence, summary, of_ports):
        """Logits without ports and with them."""
        vector = self.behaviour(packets, real, window_given)
        of_behaviour = self.of_behaviour(vector)
        joined = torch.relu(self.joined(torch.cat([vector, torch.relu(self.port_vector(of_ports))], 1)))
        gate = nn.functional.softplus(self.gate(torch.cat([joined, summary], 1)))
        return of_behaviour, of_behaviour + self.of_both(joined) + gate * evidence


class ResidualPrior(nn.Module):
    """One network, or several `together`. While training, each alone, it is given each flow's own prior (without its
    repository); else it looks it up, once for all.

    A network knows the flows that it was trained on better than any others, so in training it learns to trust
    behaviour more than a stranger's flow deserves. `trust` in the prior and the temperatures are therefore fitted
    afterwards, on repositories that it has not seen (`calibrate`).
    """

    def __init__(self, services, rows, shape=SHAPES["full"]):
        super().__init__()
        self.shape = shape
        self.ports = Ports(services, rows)
        self.members = nn.ModuleList([Member(services, shape)])
        self.register_buffer("trust", torch.zeros(2))  # in evidence, and for each log of its repositories
        self.register_buffer("temperature", torch.ones(CELLS))

    def forward(self, packets):
        return calibrated(self.say(packets), self.trust, self.temperature)

    def say(self, packets, looked_up=None, window_given=1.0):
        """`looked_up` is what the ports say, where that is known already."""
        real = real_packets(packets)
        evidence, summary, server_is_dst = self.ports(packets) if looked_up is None else looked_up
        src, dst = packets[:, 0, SRC_PORT], packets[:, 0, DST_PORT]
        given = (src + dst > 0).to(packets.dtype).unsqueeze(1)
        evidence, summary = evidence * given, summary * given
        near = summary[:, 3:]
        seen = (summary[:, :1] > 0).to(packets.dtype) - near
        states = torch.cat([seen, near, given - seen - near, 1 - given], 1)
        server, client = torch.where(server_is_dst, dst, src), torch.where(server_is_dst, src, dst)
        about = [(port < limit).to(packets.dtype) for port, limit in ((server, 1024), (server, 32768), (client, 1024))]
        about = torch.stack([*about, server_is_dst.to(packets.dtype)], 1) * given

        of_ports = torch.cat([evidence / 4, summary, states, about], 1)
        answers = [member(packets, real, window_given, evidence, summary, of_ports) for member in self.members]
        of_behaviour, logits = (sum(parts[1:], parts[0]) / len(parts) for parts in zip(*answers))

        bounds = torch.tensor(TEMPERATURE_PACKETS[:-1], device=packets.device, dtype=packets.dtype)
        bucket = (real.sum(1, keepdim=True) > bounds).to(packets.dtype).sum(1)
        cell = (states[:, 1] + 2 * states[:, 2] + 3 * states[:, 3]) * len(TEMPERATURE_PACKETS) + bucket
        return Said(of_behaviour, logits, evidence * seen, summary[:, 2], cell.long())


def together(networks):
    """All of the networks' members as one network; they are of the same flows and labels, so ports say the same."""
    first, *others = networks
    for other in others:
        first.members.extend(other.members)
    return first


def calibrated(said, trust, temperature):
    """Logits with as much trust in the ports, and as sure of themselves, as strangers' flows bear out."""
    trusted = trust[0] + trust[1] * said.groups
    return (said.logits + trusted.unsqueeze(1) * said.evidence) / temperature[said.cell].unsqueeze(1)


def sketch(network):
    """The layers in words, in the manner of the paper's table."""
    shape, count = network.shape, len(network.members)
    blocks = " - ".join(f"2 x Conv({shape.width},3,d={dilation}) + skip" for dilation in shape.dilations)
    return (f"the mean of {count} x [" * (count > 1)
            + f"bins of size, gap, window - Conv({shape.width},3) - {blocks} - {shape.queries} x attention, mean, max - "
            f"FC({shape.hidden}) - DR({DROPOUT}) - FC(N); + FC({shape.hidden // 2}) of that and the ports - FC(N); + gate "
            f"x log evidence of the server port" + "]" * (count > 1)
            + f"; the first {shape.looked_at} packets, sums of {SEQUENCE_LENGTH}")
