"""Freezing of parameters, which are then not trained in some epochs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import jax

from research.layers.base import by_path
from research.training.optimizers import matches
from research.utils.constraints import AtLeastOne

IsFrozen = Callable[[str], bool]
"""A function from the path of a parameter to whether it is frozen."""


@dataclass(frozen=True)
class Freeze:
    """Parameters that are frozen in some epochs.

    Args:
        match: pattern of the paths of the parameters; see `optimizers.groups.matches`.
        from_epoch: first epoch in which the parameters are frozen, at least 1; `None` is the first epoch of
            the run.
        until_epoch: last epoch in which the parameters are frozen; `None` is the last epoch of the run.
        statistics: whether batch normalisations that the pattern matches also use their running averages in
            training, and do not update them.
    """

    match: str
    from_epoch: Annotated[int, AtLeastOne] | None = None
    until_epoch: Annotated[int, AtLeastOne] | None = None
    statistics: bool = False

    def holds_in(self, epoch: int) -> bool:
        """Return whether the parameters are frozen in an epoch, which is counted from 1."""
        return (self.from_epoch or 1) <= epoch and (self.until_epoch is None or epoch <= self.until_epoch)


def frozen_in(freeze: Sequence[Freeze], epoch: int) -> tuple[Freeze, ...]:
    """Return the entries that hold in an epoch, which is counted from 1."""
    return tuple(each for each in freeze if each.holds_in(epoch))


def first_epochs(freeze: Sequence[Freeze], num_epochs: int) -> list[int]:
    """Return the first epoch of each phase, which is a range of epochs with the same frozen parameters.

    Example:
        >>> first_epochs([Freeze("conv1", until_epoch=4), Freeze("conv2", until_epoch=2)], 10)
        [1, 3, 5]
    """
    starts = {each.from_epoch for each in freeze if each.from_epoch}
    starts |= {each.until_epoch + 1 for each in freeze if each.until_epoch}
    return [1, *sorted(epoch for epoch in starts if 1 < epoch <= num_epochs)]


def any_match(freeze: Sequence[Freeze], path: str) -> bool:
    """Return whether the pattern of any entry matches the path of a parameter."""
    return any(matches(each.match, path) for each in freeze)


def check_freeze(freeze: Sequence[Freeze], params: Any, num_epochs: int) -> None:
    """Refuse an entry that matches no parameter, and an epoch that trains no parameter.

    Raises:
        ValueError: the message names the pattern or the epoch.
    """
    names = list(by_path(params))
    for each in freeze:
        if not any(matches(each.match, name) for name in names):
            listed = ", ".join(names)
            raise ValueError(f"match={each.match} is not allowed: it takes no parameter of {listed}")
    for epoch in first_epochs(freeze, num_epochs):
        if all(any_match(frozen_in(freeze, epoch), name) for name in names):
            raise ValueError(f"every parameter is frozen in epoch {epoch}; leave one layer out")


def split_params(params: Any, is_frozen: IsFrozen) -> tuple[Any, Any]:
    """Return the parameters that are trained and those that are frozen.

    Returns:
        Two trees like `params`. In each tree, `None` takes the place of the parameters that are in the other.
    """

    def choose(frozen: bool) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: leaf if is_frozen(_name(path)) == frozen else None, params
        )

    return choose(False), choose(True)


def join_params(first: Any, second: Any) -> Any:
    """Return the tree that `split_params` split into two trees."""
    return jax.tree.map(lambda a, b: b if a is None else a, first, second, is_leaf=lambda leaf: leaf is None)


def keep_frozen(new: Any, old: Any, is_frozen: IsFrozen) -> Any:
    """Return a tree after a step, in which the arrays of frozen parameters are those before the step.

    The compiler removes the computation of the new arrays of frozen parameters, since nothing reads them.

    Args:
        new: parameters or the state of an optimizer after a step. An array of an optimizer belongs to the
            parameter whose path ends its own path, such as `mu/conv1/kernel`.
        old: the same tree before the step.
        is_frozen: the function that says which parameters are frozen.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, after, before: before if is_frozen(_name(path)) else after, new, old
    )


def _name(path: tuple[Any, ...]) -> str:
    """Return the path of a parameter: the keys of dicts at the end of the path of an array, joined by `/`."""
    names: list[str] = []
    for key in reversed(path):
        if not isinstance(key, jax.tree_util.DictKey):
            break
        names.insert(0, key.key)
    return "/".join(names)
