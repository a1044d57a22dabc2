from collections import Counter

import numpy as np
import pytest

from conftest import make_flows
from ntc_models import data, folds, splits


@pytest.fixture(scope="module")
def many():
    return make_flows(2000, repositories=60)


def test_the_random_split_keeps_label_frequencies(many):
    held_out = splits.stratified(many.service)
    assert held_out.sum() == pytest.approx(300, abs=1)
    for name, count in Counter(many.service).items():
        assert (held_out & (many.service == name)).sum() == pytest.approx(0.15 * count, abs=1)


def test_rare_labels_keep_their_frequency_in_sum():
    labels = np.array([f"rare-{index // 2}" for index in range(1000)], dtype=object)
    assert splits.stratified(labels).sum() == pytest.approx(150, abs=1)


def test_no_group_is_on_both_sides(many):
    many = many[np.arange(len(many))]
    many.capture = np.array([f"{index // 10}.pcap" for index in range(len(many))], dtype=object)
    for name, groups in (("by-capture", many.capture), ("by-repository", many.repo), ("by-repository-3", many.repo)):
        held_out = splits.make(name, many).held_out
        assert held_out.any() and not set(groups[held_out]) & set(groups[~held_out]), name


def test_the_folds_by_repository_are_a_partition(many):
    names = ["by-repository", *(f"by-repository-{fold}" for fold in range(1, data.FOLDS))]
    held_out = [splits.make(name, many).held_out for name in names]
    assert (np.sum(held_out, axis=0) == 1).all()
    assert not splits.make("all", many).held_out.any()


def test_fewer_repositories_are_some_of_the_more_and_all_is_all(many):
    quarter, half, whole = (folds.some_of(many, share) for share in (0.25, 0.5, 1.0))
    assert set(quarter.repo) < set(half.repo) < set(many.repo)
    assert (len(set(quarter.repo)), len(set(half.repo))) == (15, 30)
    assert all((many.repo == name).sum() == (half.repo == name).sum() for name in set(half.repo))
    assert whole.digest() == many.digest()


def test_another_split_than_the_kept_one_is_refused(many, tmp_path):
    splits.keep(splits.make("by-repository", many), tmp_path)
    splits.keep(splits.make("by-repository", many), tmp_path)
    with pytest.raises(ValueError, match="other data"):
        splits.keep(splits.make("by-repository", many[np.arange(1999)]), tmp_path)
