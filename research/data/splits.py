"""Orders in which examples are held out, and the three splits of a dataset."""

from typing import NamedTuple

import numpy as np

from research.data.classes import ChosenClasses
from research.data.dataset import DataError, Split, take
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


class Pool(NamedTuple):
    """Examples that are to be divided into splits.

    Args:
        split: the examples.
        groups: the group of each example `[N]`, if the examples of a group must stay in one split.
        times: the time of each example `[N]`, if the latest examples are to be held out.
    """

    split: Split
    groups: np.ndarray | None = None
    times: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.split.labels)

    def take(self, indices: np.ndarray) -> "Pool":
        """Return the examples at `indices`, in the order of this pool."""
        indices = np.sort(indices)
        groups, times = (None if each is None else each[indices] for each in (self.groups, self.times))
        return Pool(take(self.split, indices), groups, times)

    def order(self, seed: int) -> np.ndarray:
        """Return the order `[N]` in which examples are held out.

        With times, the latest example comes first. With groups, the groups are in an order that is stratified
        by the most frequent class of a group, and the examples of a group follow each other. Otherwise the
        examples are in an order that is stratified by class.
        """
        labels = self.split.labels
        if self.times is not None:
            return np.argsort(self.times, kind="stable")[::-1]
        if self.groups is None:
            return stratified_order(labels, seed)
        names, members = np.unique(self.groups, return_inverse=True)
        counts = np.zeros((len(names), labels.max() + 1), int)
        np.add.at(counts, (members, labels), 1)
        rank = np.argsort(stratified_order(counts.argmax(1), seed))
        return np.argsort(rank[members], kind="stable")

    def hold_out(self, fraction: float, seed: int) -> tuple["Pool", "Pool"]:
        """Return the examples in two parts: those that are held out, and the rest.

        Args:
            fraction: the fraction of examples in the first part, in [0, 1).
            seed: the seed of the random order.

        Returns:
            The first part and the rest. Each has at least one example, unless `fraction` is 0.

        Raises:
            ValueError: there are fewer than two examples or groups.
        """
        count = len(self)
        if count < 2:
            raise ValueError(f"{count} examples cannot be split in two")
        size = min(max(round(fraction * count), 1), count - 1) if fraction else 0
        order = self.order(seed)
        size = self._between_groups(order, [size])[0] if size else 0
        return self.take(order[:size]), self.take(order[size:])

    def fold(self, index: int, num_folds: int, seed: int) -> tuple["Pool", "Pool"]:
        """Return one fold of a cross-validation, and the examples that may be used for training.

        Without times, the folds are equal parts of the examples, and all examples of the other folds may be
        used for training. With times, the examples are divided into `num_folds + 1` parts. The earliest part
        is not a fold, and only the examples before a fold may be used for training (Hyndman and
        Athanasopoulos, 2021, section 5.10).

        Args:
            index: the number of the fold, in [0, num_folds).
            num_folds: the number of folds, at least 2.
            seed: the seed of the random order.

        Returns:
            The fold, and the examples that may be used for training.

        Raises:
            ValueError: there are too few examples or groups.
        """
        order, count = self.order(seed), len(self)
        num_parts = num_folds if self.times is None else num_folds + 1
        bounds = [round(count * part / num_parts) for part in range(1, num_parts)]
        bounds = [0, *self._between_groups(order, bounds), count]
        if min(np.diff(bounds)) == 0:
            what = f"{count} examples" if self.groups is None else f"{len(np.unique(self.groups))} groups"
            raise ValueError(f"folds={num_folds}; allowed: fewer, because there are {what}")
        if self.times is not None:
            order, index = order[::-1], index + 1
        start, stop = bounds[index], bounds[index + 1]
        others = order[:start] if self.times is not None else np.r_[order[:start], order[stop:]]
        return self.take(order[start:stop]), self.take(others)

    def _between_groups(self, order: np.ndarray, bounds: list[int]) -> list[int]:
        """Return the positions in an order, each moved to the nearest position at which a group begins."""
        if self.groups is None:
            return bounds
        following = self.groups[order]
        starts = np.flatnonzero(following[1:] != following[:-1]) + 1
        if not len(starts):
            raise ValueError(f"groups: all {len(order)} examples are of one group, which cannot be split")
        return [int(starts[np.abs(starts - bound).argmin()]) for bound in bounds]


class Splits(NamedTuple):
    """The three splits of a dataset, and the training split before the validation split was taken from it."""

    train: Split
    validation: Split
    test: Split
    before_validation: Split


def make_splits(
    images: ImageSource,
    source: Source,
    validation_fraction: float,
    test_fraction: float,
    seed: int,
    *,
    folds: int | None = None,
    fold: int = 0,
) -> Splits:
    """Return the three splits of a source. Splits that the source has are kept, except with `folds`.

    Args:
        images: the images.
        source: what `images.read` returned.
        validation_fraction: as for `load_dataset`.
        test_fraction: as for `load_dataset`.
        seed: the seed of the random orders.
        folds: as for `load_dataset`.
        fold: as for `load_dataset`.

    Raises:
        DataError: the source has no training images.
        ValueError: the fractions leave too few examples to train on.
    """
    if not len(source.train.labels):
        raise DataError(
            f"{images.name} has test images only; train on other images, and give --data {images.name} to "
            "evaluate"
        )
    pool, test, share = Pool(source.train, source.groups, source.times), source.test, validation_fraction
    if folds is not None:
        held_out, pool = pool.fold(fold, folds, seed)
        test = held_out.split
    elif test is None:
        of_table = isinstance(images.images if isinstance(images, ChosenClasses) else images, TableImages)
        if source.validation is None and not of_table:
            share = validation_fraction / (1 - test_fraction)
        if share >= 1:
            raise ValueError(
                f"validation_fraction={validation_fraction}; allowed: below {1 - test_fraction:.12g}, "
                f"because test_fraction={test_fraction}"
            )
        held_out, pool = pool.hold_out(test_fraction, seed)
        test = held_out.split
    if len(pool) < 2:
        given = f"test_fraction={test_fraction}" if folds is None else f"folds={folds}"
        raise ValueError(f"{given} leaves too few examples of {images.name} to train on")
    if source.validation is not None:
        return Splits(pool.split, source.validation, test, pool.split)
    validation, rest = pool.hold_out(share, seed)
    return Splits(rest.split, validation.split, test, pool.split)
