from dataclasses import replace

import pytest
import torch

from ntc_models.augment import Knobs, augment, real_packets
from ntc_models.data import DIRECTION, DST_PORT, GAP, PAYLOAD, SRC_PORT, WINDOW

NOTHING = Knobs(client_port=0, server_port=0, prefix=0, late_start=0, gaps=0, window=0, payload=0)


def change(flows, **knobs):
    packets = torch.as_tensor(flows.packets)
    server_is_dst = torch.ones(len(packets), dtype=torch.bool)
    return packets, augment(packets, server_is_dst, torch.Generator().manual_seed(1), replace(NOTHING, **knobs))


def test_nothing_chosen_nothing_changed(flows):
    before, after = change(flows)
    assert torch.equal(before, after)


def test_a_new_client_port_is_the_clients_in_both_directions(flows):
    before, after = change(flows, client_port=1.0)
    client = after[:, :1, SRC_PORT]
    real = real_packets(after)
    forward = before[:, :, DIRECTION] == 0
    there = torch.where(forward, after[:, :, SRC_PORT], after[:, :, DST_PORT])
    server = torch.where(forward, after[:, :, DST_PORT], after[:, :, SRC_PORT])
    assert ((there == client) | ~real).all() and (client >= 1024).all()
    assert ((server == before[:, :1, DST_PORT]) | ~real).all()
    assert (client != before[:, :1, SRC_PORT]).float().mean() > 0.95
    assert not after[~real].any()


def test_system_ports_of_clients_and_shared_ports_stay(flows):
    shared = flows[:8]
    shared.packets = shared.packets.copy()
    shared.packets[:, :, [SRC_PORT, DST_PORT]] = 123 * (shared.packets[:, :, [SRC_PORT]] > 0)
    before, after = change(shared, client_port=1.0, server_port=1.0)
    assert torch.equal(before, after)


def test_a_late_start_begins_with_direction_zero_and_no_gap(flows):
    before, after = change(flows, late_start=1.0)
    assert (after[:, 0, DIRECTION] == 0).all() and (after[:, 0, GAP] == 0).all()
    lost = real_packets(before).sum(1) - real_packets(after).sum(1)
    assert set(lost.tolist()) <= {0, 1, 2, 3} and (lost > 0).any()
    for row in range(len(before)):
        kept = int(real_packets(after[row : row + 1]).sum())
        old = before[row, int(lost[row]) : int(lost[row]) + kept]
        assert torch.equal(after[row, :kept, PAYLOAD], old[:, PAYLOAD])
        assert torch.equal(after[row, :kept, SRC_PORT], old[:, SRC_PORT])


def test_a_prefix_is_cut_and_padded(flows):
    before, after = change(flows, prefix=1.0)
    real = real_packets(after)
    assert torch.equal(after[real], before[real])
    assert not after[~real].any() and (real.sum(1) >= 1).all()
    assert real.sum() < real_packets(before).sum()


@pytest.mark.parametrize(("knob", "column"), [("gaps", GAP), ("window", WINDOW), ("payload", PAYLOAD)])
def test_only_the_chosen_feature_is_stretched(flows, knob, column):
    before, after = change(flows, **{knob: 1.0})
    others = [index for index in range(6) if index != column]
    assert torch.equal(before[:, :, others], after[:, :, others])
    assert not torch.equal(before[:, :, column], after[:, :, column])
    assert torch.equal(before[:, :, column] > 0, after[:, :, column] > 0)
