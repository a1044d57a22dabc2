import numpy as np
import pytest

from ntc_models import redundancy
from ntc_models.data import GAP, PAYLOAD, SRC_PORT
from ntc_models.ports import PortEvidence


def test_equal_flows_are_equal_in_what_is_looked_at(flows):
    three = flows[np.array([0, 0, 0])]
    three.packets = three.packets.copy()
    three.packets[1, 1:, GAP] += 1
    three.packets[2, 0, SRC_PORT] += 1
    evidence = PortEvidence(flows)
    views = redundancy.VIEWS
    assert len(set(redundancy.groups(three, views["shape"], evidence))) == 1
    assert len(set(redundancy.groups(three, views["no-time, without the client's port"], evidence))) == 1
    assert len(set(redundancy.groups(three, views["all"], evidence))) == 3


def test_length_counts_and_packets_beyond_it_do_not(flows):
    two = flows[np.array([0, 0])]
    two.packets = two.packets.copy()
    two.packets[1, 5:, PAYLOAD] += 1
    two.length = np.array([20, 20])
    evidence = PortEvidence(flows)
    assert len(set(redundancy.groups(two, redundancy.VIEWS["shape"], evidence))) == 2
    assert len(set(redundancy.groups(two, redundancy.VIEWS["shape"], evidence, length=5))) == 1
    two.length = np.array([3, 20])  # an acknowledgement without payload is not the same as padding
    assert len(set(redundancy.groups(two, redundancy.VIEWS["shape"], evidence, length=5))) == 2


def test_shares_by_hand():
    group = np.array([0, 0, 0, 1, 1, 2])
    labels = np.array(["a", "a", "b", "c", "c", "a"], dtype=object)
    assert redundancy.repeated(group) == pytest.approx(5 / 6)
    assert redundancy.conflicting(group, labels) == pytest.approx(3 / 6)
    assert redundancy.attainable(group, labels) == pytest.approx(5 / 6)
    assert redundancy.seen_before(group, np.array([True, False, False, True, True, True])) == pytest.approx(1 / 4)
