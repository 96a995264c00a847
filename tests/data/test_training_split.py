import numpy as np
import pytest

from research.data import load_dataset
from research.data.dataset import Split
from research.data.training_split import long_tailed, with_label_noise


@pytest.fixture(scope="module")
def split():
    """Twenty examples of each of five classes, whose pixel is the number of the example."""
    return Split(np.arange(100, dtype=np.uint8)[:, None, None, None], np.arange(100, dtype=np.int32) % 5)


def test_a_long_tail_falls_exponentially(split):
    tail = long_tailed(split, 0.1, 5, seed=0)
    expected = [round(20 * 0.1 ** (label / 4)) for label in range(5)]
    assert np.bincount(tail.labels).tolist() == expected == [20, 11, 6, 4, 2]
    np.testing.assert_array_equal(tail.labels, np.ravel(tail.images) % 5)
    smaller, other = long_tailed(split, 0.01, 5, seed=0), long_tailed(split, 0.1, 5, seed=1)
    assert np.bincount(smaller.labels).tolist() == [20, 6, 2, 1, 1]
    assert {*np.ravel(smaller.images)} < {*np.ravel(tail.images)} != {*np.ravel(other.images)}


def test_a_class_with_fewer_examples_keeps_all_of_them(split):
    few = Split(split.images[3:], np.where(split.labels[3:] == 0, 1, split.labels[3:]))
    few.labels[0] = 0
    assert np.bincount(long_tailed(few, 0.5, 5, seed=0).labels)[:2].tolist() == [1, 32]


def test_label_noise_draws_the_other_classes_equally_often():
    labels = np.zeros(30_000, np.int32)
    noisy = with_label_noise(Split(np.zeros((30_000, 1, 1, 1), np.uint8), labels), 0.2, 4, seed=0)
    counts = np.bincount(noisy.labels, minlength=4)
    assert counts[0] == 24_000
    assert counts[1:] == pytest.approx(np.full(3, 2000), abs=5 * np.sqrt(2000))
    assert not labels.any()  # the labels of the source stay as they were


def test_only_the_training_split_changes():
    whole = load_dataset("digits")
    changed = load_dataset("digits", imbalance=0.1, label_noise=0.2, train_limit=300)
    for name in ("validation", "test"):
        for ours, theirs in zip(getattr(changed, name), getattr(whole, name), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    label_of = {image.tobytes(): label for image, label in zip(*map(np.asarray, whole.train), strict=True)}
    right = [label_of[image.tobytes()] for image in changed.train.images]
    assert len(right) == 300
    assert np.count_nonzero(right != changed.train.labels) == 60
    counts = np.bincount(right)
    assert counts[0] > 8 * counts[9] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"imbalance": 0.0}, "imbalance=0.0; allowed: above 0 and at most 1"),
        ({"imbalance": 1.5}, "imbalance=1.5"),
        ({"label_noise": 1.0}, "label_noise=1.0; allowed: at least 0 and below 1"),
        ({"imbalance": 0.1, "train_limit": 1294}, "train_limit=1294; allowed: 1 to "),
    ],
)
def test_numbers_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        load_dataset("digits", **options)
