import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from research.data.splits import stratified_order


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60).map(np.array),
    seed=st.integers(0, 2**32 - 1),
    share=st.floats(0, 1),
)
def test_every_prefix_holds_the_classes_in_their_proportions(labels, seed, share):
    order = stratified_order(labels, seed)
    assert sorted(order) == list(range(len(labels)))
    size = round(share * len(labels))
    counts = np.bincount(labels[order[:size]], minlength=5)
    proportional = np.bincount(labels, minlength=5) * size / len(labels)
    assert np.all(np.abs(counts - proportional) <= 1 + 1e-9)


def test_the_seed_decides_the_order():
    labels = np.arange(100) % 10
    assert np.array_equal(stratified_order(labels, 3), stratified_order(labels, 3))
    assert not np.array_equal(stratified_order(labels, 3), stratified_order(labels, 4))


def test_the_order_stays_the_same_from_version_to_version():
    assert stratified_order(np.array([0, 1, 0, 1, 1, 0, 1, 1]), 0).tolist() == [4, 2, 3, 6, 5, 1, 0, 7]
