"""Flows as other paths would show them."""

import torch

from ntc_models.augment import keep_one_way, merge_segments
from ntc_models.data import DIRECTION, GAP, PAYLOAD, SEQUENCE_LENGTH, WINDOW

EVERY = torch.ones(1, dtype=torch.bool)


def flow(*packets, window=500):
    """[1, 20, 6] of payload size, gap and direction of each packet."""
    found = torch.zeros(1, SEQUENCE_LENGTH, 6)
    for place, (size, gap, direction) in enumerate(packets):
        ports = (443, 40_000) if direction else (40_000, 443)
        found[0, place] = torch.tensor([*ports, size, window, gap, direction])
    return found


def told(packets):
    real = packets[0][packets[0].any(1)]
    return [tuple(map(int, row)) for row in real[:, [PAYLOAD, GAP, DIRECTION]]]


def test_segments_of_one_burst_become_one_packet_at_the_time_of_the_first():
    segments = flow((0, 0, 0), (1448, 900, 1), (1448, 10, 1), (700, 10, 1), (1448, 10, 1), (1448, 500, 1), (100, 5, 0))
    merged = merge_segments(segments, EVERY)
    assert told(merged) == [(0, 0, 0), (3596, 900, 1), (1448, 30, 1), (1448, 500, 1), (100, 5, 0)]
    assert torch.equal(merge_segments(segments, ~EVERY), segments)


def test_what_is_not_alike_is_not_merged():
    apart = [
        flow((100, 0, 0), (100, 10, 1), (100, 10, 0)),  # directions
        flow((100, 0, 0), (200, 10, 0)),  # a larger one is of no burst
        flow((0, 0, 0), (0, 10, 0), (10, 10, 0)),  # without data
        flow((100, 0, 0), (100, 10, 0), window=0),  # UDP
    ]
    changed = flow((100, 0, 0), (100, 10, 0))
    changed[0, 1, WINDOW] = 501
    for packets in [*apart, changed]:
        assert torch.equal(merge_segments(packets, EVERY), packets)


def test_no_packet_becomes_longer_than_a_length_can_tell():
    merged = merge_segments(flow(*[(8000, 10, 0)] * 12), EVERY)
    assert told(merged) == [(64_000, 10, 0), (32_000, 80, 0)]
    assert merged[0, :, GAP].sum() == 90


def test_one_way_has_one_ends_packets_their_times_and_their_ports():
    both = flow((0, 0, 0), (0, 50, 1), (0, 60, 0), (517, 5, 0), (1448, 50, 1), (700, 1, 1), (80, 70, 0))
    asked = keep_one_way(both, EVERY, ~EVERY)
    assert told(asked) == [(0, 0, 0), (0, 110, 0), (517, 5, 0), (80, 121, 0)]
    answered = keep_one_way(both, EVERY, EVERY)
    assert told(answered) == [(0, 0, 0), (1448, 115, 0), (700, 1, 0)]
    assert answered[0, :3, :2].tolist() == [[443, 40_000]] * 3
    assert torch.equal(keep_one_way(both, ~EVERY, EVERY), both)


def test_a_flow_without_answers_stays_where_answers_are_asked_for():
    alone = flow((100, 0, 0), (100, 1000, 0))
    assert torch.equal(keep_one_way(alone, EVERY, EVERY), alone)
