import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from research.data.splits import stratified_order


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60).map(np.array),
    seed=st.integers(0, 2**32 - 1),
    share=st.floats(0, 1),
)
@example(labels=np.array([4, 0, 0, 0, 1, 1, 2, 3, 4, 0, 4, 0, 1]), seed=0, share=0.625)  # off by 1.08
def test_every_prefix_holds_the_classes_in_their_proportions(labels, seed, share):
    order = stratified_order(labels, seed)
    assert sorted(order) == list(range(len(labels)))
    size = round(share * len(labels))
    counts = np.bincount(labels[order[:size]], minlength=5)
    fractions = np.bincount(labels, minlength=5) / len(labels)
    bound = 1 / 2 + len(np.unique(labels)) * fractions / 2
    assert np.all(np.abs(counts - fractions * size) <= bound + 1e-9)


def test_the_seed_decides_the_order():
    labels = np.arange(100) % 10
    assert np.array_equal(stratified_order(labels, 3), stratified_order(labels, 3))
    assert not np.array_equal(stratified_order(labels, 3), stratified_order(labels, 4))


def test_the_order_stays_the_same_from_version_to_version():
    assert stratified_order(np.array([0, 1, 0, 1, 1, 0, 1, 1]), 0).tolist() == [4, 2, 3, 6, 5, 1, 0, 7]
