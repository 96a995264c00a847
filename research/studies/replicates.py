"""What the runs of an arm differ in: seeds, and the folds of a cross-validation."""

from collections.abc import Iterable
from itertools import groupby

from research.records import Run

Replicate = int | tuple[int, int]
"""What the runs of an arm differ in: the seed; in a cross-validation, the seed and the fold."""


def seed_of(run: Run) -> int:
    """Return the seed of a run, or the seed of the study that it belongs to; 0 if there is none."""
    of_study = (run.config.get("study") or {}).get("seed")
    return int(run.config.get("seed") or 0) if of_study is None else of_study


def is_fold(run: Run) -> bool:
    """Return whether a run is one fold of a cross-validation."""
    return (run.config.get("data") or {}).get("folds") is not None


def replicate_of(run: Run) -> Replicate:
    """Return the seed of a run; in a cross-validation, the seed and the fold."""
    seed = seed_of(run)
    return (seed, int(run.config["data"]["fold"])) if is_fold(run) else seed


def replicate_in_words(replicate: Replicate) -> str:
    """Return a seed, or a seed and a fold, as text.

    Example:
        >>> replicate_in_words(3), replicate_in_words((0, 2))
        ('3', '0 (fold 2)')
    """
    return str(replicate) if isinstance(replicate, int) else "{} (fold {})".format(*replicate)


def in_order(replicates: Iterable[Replicate]) -> tuple[Replicate, ...]:
    """Return seeds, or pairs of a seed and a fold, in their order."""
    return tuple(sorted(replicates, key=lambda each: (each,) if isinstance(each, int) else each))


def seeds_in_words(seeds: Iterable[int]) -> str:
    """Return sorted seeds as text, with the first and the last one of those that follow each other.

    Example:
        >>> seeds_in_words([3, 0, 1, 2, 7, 8])
        '0 to 3, 7 to 8'
    """
    rows = groupby(enumerate(sorted(seeds)), lambda item: item[1] - item[0])
    ends = [(row[0][1], row[-1][1]) for row in (list(group) for _, group in rows)]
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in ends)
