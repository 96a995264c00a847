"""An order of examples in which every prefix holds the classes in their proportions."""

import numpy as np


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
