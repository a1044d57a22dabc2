"""What a stranger's network, and an early question, do to a flow. Applied to raw packets, batch by batch.

Every change keeps the flow one that could have been captured: ports swap with direction, padding stays zero, the
first gap stays zero.
"""

from dataclasses import dataclass

import torch

from .data import DIRECTION, DST_PORT, GAP, PAYLOAD, SEQUENCE_LENGTH, SRC_PORT, WINDOW

# -- knobs -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Knobs:
    client_port: float = 0.7  # the client's port is drawn anew: it says nothing, and names the capture
    server_port: float = 0.05  # the server's port is drawn anew: behaviour must do without it
    prefix: float = 0.3  # the agent asks before 20 packets are there
    late_start: float = 0.05  # the capture began after the flow did
    gaps: float = 0.5  # another distance: all gaps times e^U(-2, 2)
    window: float = 0.3  # another system: all windows times e^U(-1, 1)
    payload: float = 0.3  # another implementation: all payloads times e^U(-1, 1)


GAP_RANGE = 2.0
WINDOW_RANGE = 1.0
PAYLOAD_RANGE = 1.0
LATEST_START = 3
SEGMENTS = (536, 1400)  # bytes
EPHEMERAL = ((1024, 65535), (32768, 60999), (49152, 65535))  # any, Linux, IANA
# ----------------------------------------------------------------------------------------------------------------------


def augment(packets, server_is_dst, generator, knobs=Knobs()):
    """A changed copy of raw packets [B, 20, 6]; `server_is_dst` [B] says which end of the first packet serves."""
    packets = packets.clone()
    batch = len(packets)

    def draw(probability):
        return torch.rand(batch, generator=generator, device=packets.device) < probability

    def spread(chosen, width):
        """One factor a flow: e^U(-width, width) in the chosen ones, 1 in the others."""
        uniform = torch.rand(batch, generator=generator, device=packets.device)
        return torch.where(chosen, torch.exp((uniform * 2 - 1) * width), torch.ones_like(uniform))[:, None]

    replace_port(packets, ~server_is_dst, draw(knobs.client_port), generator, ephemeral_only=True)
    replace_port(packets, server_is_dst, draw(knobs.server_port), generator, ephemeral_only=False)
    packets[:, :, GAP] *= spread(draw(knobs.gaps), GAP_RANGE)
    packets[:, :, WINDOW] = (packets[:, :, WINDOW] * spread(draw(knobs.window), WINDOW_RANGE)).round().clamp(0, 65535)
    # Rounded up: a packet that had a payload keeps one.
    packets[:, :, PAYLOAD] = (packets[:, :, PAYLOAD] * spread(draw(knobs.payload), PAYLOAD_RANGE)).ceil()
    packets = start_late(packets, draw(knobs.late_start), generator)
    return keep_prefix(packets, draw(knobs.prefix), generator)


def real_packets(packets):
    return packets[:, :, [SRC_PORT, DST_PORT]].sum(2) > 0


def replace_port(packets, at_dst, chosen, generator, ephemeral_only):
    """Draws one end's port anew in the chosen flows; with `ephemeral_only`, where it was no system port."""
    batch = len(packets)
    device = packets.device
    first = torch.where(at_dst, packets[:, 0, DST_PORT], packets[:, 0, SRC_PORT])
    # One port at both ends (NTP, IKE, mDNS peers): neither is a throw-away.
    chosen = chosen & (packets[:, 0, SRC_PORT] != packets[:, 0, DST_PORT])
    if ephemeral_only:
        chosen = chosen & (first >= 1024)
    bounds = torch.tensor(EPHEMERAL, device=device, dtype=packets.dtype)
    bounds = bounds[torch.randint(len(EPHEMERAL), (batch,), generator=generator, device=device)]
    uniform = torch.rand(batch, generator=generator, device=device)
    port = (bounds[:, 0] + uniform * (bounds[:, 1] - bounds[:, 0])).floor()

    reply = packets[:, :, DIRECTION] == 1
    on_dst = reply != at_dst[:, None]  # this end is the destination of this packet
    change = chosen[:, None] & real_packets(packets)
    for column, side in ((DST_PORT, on_dst), (SRC_PORT, ~on_dst)):
        packets[:, :, column] = torch.where(change & side, port[:, None], packets[:, :, column])


def start_late(packets, chosen, generator):
    """Loses the first packets of the chosen flows; the first that is left has direction 0, as in any capture."""
    lost = torch.randint(1, LATEST_START + 1, (len(packets),), generator=generator, device=packets.device)
    length = real_packets(packets).sum(1)
    lost = torch.where(chosen & (length > lost), lost, torch.zeros_like(lost))
    index = torch.arange(SEQUENCE_LENGTH, device=packets.device) + lost[:, None]
    kept = (index < SEQUENCE_LENGTH)[:, :, None]
    index = index.clamp(max=SEQUENCE_LENGTH - 1)[:, :, None].expand_as(packets)
    packets = torch.gather(packets, 1, index) * kept
    flip = (packets[:, 0, DIRECTION] == 1)[:, None] & real_packets(packets)
    packets[:, :, DIRECTION] = torch.where(flip, 1 - packets[:, :, DIRECTION], packets[:, :, DIRECTION])
    packets[:, 0, GAP] = 0
    return packets


def keep_prefix(packets, chosen, generator):
    """Cuts the chosen flows after their first 1 to 20 packets."""
    length = torch.randint(1, SEQUENCE_LENGTH + 1, (len(packets),), generator=generator, device=packets.device)
    length = torch.where(chosen, length, torch.full_like(length, SEQUENCE_LENGTH))
    kept = torch.arange(SEQUENCE_LENGTH, device=packets.device) < length[:, None]
    return packets * kept[:, :, None]


def cut_segments(packets, chosen, generator):
    """Another path's segment size: payloads above it are cut in two packets, what no longer fits falls off the end."""
    size = torch.randint(*SEGMENTS, (len(packets),), generator=generator, device=packets.device).to(packets.dtype)
    size = torch.where(chosen, size, torch.full_like(size, 1e9))[:, None]
    payload = packets[:, :, PAYLOAD]
    pieces = 1 + (payload > size).long()
    source = torch.cumsum(pieces, 1) - pieces  # where each packet's first piece goes
    index = torch.searchsorted(source, torch.arange(SEQUENCE_LENGTH, device=packets.device).expand_as(source).contiguous(),
                               right=True) - 1
    cut = torch.gather(packets, 1, index[:, :, None].expand_as(packets))
    whole = torch.gather(payload, 1, index)
    second = torch.arange(SEQUENCE_LENGTH, device=packets.device) > torch.gather(source, 1, index)
    cut[:, :, PAYLOAD] = torch.where(second, (whole - size).clamp(min=0), torch.minimum(whole, size))
    cut[:, :, GAP] = torch.where(second, torch.ones_like(whole), cut[:, :, GAP])
    cut = cut * real_packets(cut)[:, :, None]
    return torch.where(chosen[:, None, None], cut, packets)


def flip_roles(packets, chosen):
    """The capture took the other end for the one that began."""
    packets = packets.clone()
    flip = chosen[:, None] & real_packets(packets)
    packets[:, :, DIRECTION] = torch.where(flip, 1 - packets[:, :, DIRECTION], packets[:, :, DIRECTION])
    return packets
