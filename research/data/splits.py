"""Stratified orders of examples, and the three splits that are made by them."""

from typing import NamedTuple

import numpy as np

from research.data.classes import ChosenClasses
from research.data.dataset import Split, take
from research.data.image_source import ImageSource
from research.data.source import Source
from research.data.table import TableImages


def stratified_order(labels: np.ndarray, seed: int) -> np.ndarray:
    r"""Return a random order of the examples in which every prefix is stratified.

    The examples are sorted by

    $$
    p_i = \frac{r_i + 1/2}{n_{c(i)}}
    $$

    where $r_i$ is the random rank of example $i$ within its class $c(i)$ of $n_{c(i)}$ examples. In a prefix
    of $k$ of $N$ examples of $C$ classes, the number of examples of class $c$ differs from $k n_c / N$ by at
    most $1/2 + C n_c / (2 N)$, which is one for classes of equal size. A smaller prefix is a subset of a
    larger one.

    Args:
        labels: the labels `[N]`, integers.
        seed: the seed of the random ranks.

    Returns:
        The order `[N]`, each index into `labels` once.

    Example:
        >>> labels = np.array([0] * 6 + [1] * 3)
        >>> np.bincount(labels[stratified_order(labels, seed=0)[:3]]).tolist()
        [2, 1]
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    shuffled = labels[order]
    position = np.empty(len(labels))
    for label in np.unique(labels):
        members = shuffled == label
        count = np.count_nonzero(members)
        position[members] = (np.arange(count) + 0.5) / count
    return order[np.argsort(position, kind="stable")]


class Splits(NamedTuple):
    """The three splits of a dataset, and the training split before the validation split was taken from it."""

    train: Split
    validation: Split
    test: Split
    before_validation: Split


def make_splits(
    images: ImageSource, source: Source, validation_fraction: float, test_fraction: float, seed: int
) -> Splits:
    """Return the splits of a source, of which it may have some already.

    Args:
        images: the images.
        source: what `images.read` returned.
        validation_fraction: as for `load_dataset`.
        test_fraction: as for `load_dataset`.
        seed: the seed of the random orders.

    Raises:
        ValueError: the fractions leave too few examples to train on.
    """
    train, test, share = source.train, source.test, validation_fraction
    if test is None:
        of_table = isinstance(images.images if isinstance(images, ChosenClasses) else images, TableImages)
        if source.validation is None and not of_table:
            share = validation_fraction / (1 - test_fraction)
        if share >= 1:
            raise ValueError(
                f"validation_fraction={validation_fraction}; allowed: below {1 - test_fraction:.12g}, "
                f"because test_fraction={test_fraction}"
            )
        test, train = split_off(train, test_fraction, seed)
    if len(train.labels) < 2:
        raise ValueError(
            f"test_fraction={test_fraction} leaves too few examples of {images.name} to train on"
        )
    if source.validation is not None:
        return Splits(train, source.validation, test, train)
    validation, rest = split_off(train, share, seed)
    return Splits(rest, validation, test, train)


def split_off(split: Split, fraction: float, seed: int) -> tuple[Split, Split]:
    """Split a split in two, stratified by class.

    Args:
        split: the examples.
        fraction: the fraction of examples in the first part, in [0, 1).
        seed: the seed of the random order.

    Returns:
        The first part and the rest. Each has at least one example, unless `fraction` is 0.

    Raises:
        ValueError: `split` has fewer than two examples.
    """
    count = len(split.labels)
    if count < 2:
        raise ValueError(f"{count} examples cannot be split in two")
    size = min(max(round(fraction * count), 1), count - 1) if fraction else 0
    order = stratified_order(split.labels, seed)
    return take(split, order[:size]), take(split, order[size:])
