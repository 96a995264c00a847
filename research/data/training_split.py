"""Changes of the training split for studies of imbalance and wrong labels."""

import numpy as np

from research.data.dataset import Split
from research.data.splits import stratified_order, take


def long_tailed(split: Split, imbalance: float, num_classes: int, seed: int) -> Split:
    r"""Return a split in which the number of examples falls exponentially from the first to the last class.

    Class $c$ of $C$ keeps

    $$
    n_c = n_{max} \, r^{c / (C - 1)}
    $$

    examples, rounded, where $n_{max}$ is the number of examples of the largest class and $r$ is `imbalance`.
    A class keeps at least one example. No example is repeated, so a class with fewer than $n_c$ examples
    keeps all of them.

    Args:
        split: the examples.
        imbalance: the number of examples of the last class, as a share of those of the first, in (0, 1].
        num_classes: the number of classes.
        seed: the seed of the choice. With one seed, a smaller `imbalance` keeps a subset of the examples.

    Example:
        >>> split = Split(np.zeros((30, 1, 1, 1), np.uint8), np.repeat(np.arange(3, dtype=np.int32), 10))
        >>> np.bincount(long_tailed(split, 0.1, 3, seed=0).labels).tolist()
        [10, 3, 1]

    Source: Cui, Jia, Lin, Song and Belongie (2019), Class-balanced loss based on effective number of samples.
    """
    order = stratified_order(split.labels, seed)
    largest = np.bincount(split.labels).max()
    counts = np.rint(largest * imbalance ** (np.arange(num_classes) / max(num_classes - 1, 1))).astype(int)
    kept = [order[split.labels[order] == label][: max(count, 1)] for label, count in enumerate(counts)]
    return take(split, np.concatenate(kept))


def with_label_noise(split: Split, rate: float, num_classes: int, seed: int) -> Split:
    """Return a split in which some labels are replaced by other classes, each with the same probability.

    Args:
        split: the examples.
        rate: the share of the labels that are replaced, in [0, 1). The number of these labels is rounded.
        num_classes: the number of classes, at least 2.
        seed: the seed of the choice.

    Example:
        >>> split = Split(np.zeros((10, 1, 1, 1), np.uint8), np.zeros(10, np.int32))
        >>> int((with_label_noise(split, 0.2, 3, seed=0).labels != 0).sum())
        2

    Source: Zhang, Bengio, Hardt, Recht and Vinyals (2017), Understanding deep learning requires rethinking
        generalization, section 2.
    """
    rng = np.random.default_rng(seed)
    wrong = rng.permutation(len(split.labels))[: round(rate * len(split.labels))]
    labels = split.labels.copy()
    labels[wrong] = (labels[wrong] + rng.integers(1, num_classes, len(wrong))) % num_classes
    return split._replace(labels=labels)
