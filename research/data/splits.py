"""Stratified order: any prefix of it holds the classes in their proportions."""

import numpy as np


def stratified_order(labels: np.ndarray, seed: int) -> np.ndarray:
    r"""A random order of the examples whose every prefix is stratified.

    .. math:: p_i = \frac{r_i + 1/2}{n_{c(i)}}

    where :math:`r_i` is the random rank of example i within its class c(i) of :math:`n_{c(i)}` examples;
    examples are sorted by p. A prefix of size k then holds each class to within one of its share of k, and
    a smaller subset lies within a larger one.

    Args:
        labels: ``[N]`` integers.
        seed: decides the order, together with the labels.

    Returns:
        ``[N]`` indices into ``labels``, each once.

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
