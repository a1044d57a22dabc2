"""Flows as other paths would show them."""

import numpy as np

from ntc_models import trust
from ntc_models.data import DIRECTION, GAP, PAYLOAD, SEQUENCE_LENGTH, WINDOW


def flow(*packets, window=500):
    """[1, 20, 6] of payload size, gap and direction of each packet."""
    found = np.zeros((1, SEQUENCE_LENGTH, 6), dtype=np.float32)
    for place, (size, gap, direction) in enumerate(packets):
        found[0, place] = 40_000, 443, size, window, gap, direction
    return found


def told(packets):
    real = packets[0][packets[0].any(1)]
    return [tuple(map(int, row)) for row in real[:, [PAYLOAD, GAP, DIRECTION]]]


def test_segments_of_one_burst_become_one_packet_at_the_time_of_the_first():
    segments = flow((0, 0, 0), (1448, 900, 1), (1448, 10, 1), (700, 10, 1), (1448, 10, 1), (1448, 500, 1), (100, 5, 0))
    assert told(trust.merge(segments)) == [(0, 0, 0), (3596, 900, 1), (1448, 30, 1), (1448, 500, 1), (100, 5, 0)]


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
        assert (trust.merge(packets) == packets).all()


def test_no_packet_becomes_longer_than_a_length_can_tell():
    merged = trust.merge(flow(*[(8000, 10, 0)] * 12))
    assert told(merged) == [(64_000, 10, 0), (32_000, 80, 0)]
    assert merged[0, :, GAP].sum() == 90


def test_one_way_has_one_ends_packets_and_their_times():
    both = flow((0, 0, 0), (0, 50, 1), (0, 60, 0), (517, 5, 0), (1448, 50, 1), (700, 1, 1), (80, 70, 0))
    assert told(trust.one_way(both, 0)) == [(0, 0, 0), (0, 110, 0), (517, 5, 0), (80, 121, 0)]
    assert told(trust.one_way(both, 1)) == [(0, 0, 0), (1448, 115, 0), (700, 1, 0)]


def test_a_flow_without_answers_stays_where_answers_are_asked_for():
    alone = flow((100, 0, 0), (100, 1000, 0))
    assert (trust.one_way(alone, 1) == alone).all()
