"""Groups of parameters with learning rates, weight decays and optimizers of their own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Annotated, Any

import jax
import optax

from research.layers.base import by_path
from research.training.optimizers.chain import is_kernel
from research.training.optimizers.table import OPTIMIZERS
from research.utils.constraints import NonNegative, OneOf


@dataclass(frozen=True)
class Group:
    """A group of parameters.

    Args:
        match: pattern of the names of the parameters; see `matches`.
        optimizer: the optimizer of the group; `None` is that of the run.
        learning_rate: factor of the learning rate of the run. If the group has an optimizer, this is its
            learning rate, and `None` is the default of that optimizer.
        weight_decay: the same for the weight decay.
    """

    match: str
    optimizer: Annotated[str, OneOf(OPTIMIZERS)] | None = None
    learning_rate: Annotated[float, NonNegative] | None = None
    weight_decay: Annotated[float, NonNegative] | None = None


def matches(pattern: str, path: str) -> bool:
    """Return whether a pattern matches the path of a parameter.

    Args:
        pattern: a pattern of `fnmatch`, in which `*` stands for any text. A pattern without `/` is compared
            with the first name of the path, so it takes a whole layer. A `!` before a pattern means all
            parameters that the pattern does not match.
        path: the names of the layers and of the parameter, such as `conv1/kernel`.

    Example:
        >>> [matches(pattern, "conv1/bias") for pattern in ("*/bias", "conv*", "conv2", "!logits", "*/b")]
        [True, True, False, True, False]
    """
    if pattern.startswith("!"):
        return not matches(pattern[1:], path)
    return fnmatchcase(path if "/" in pattern else path.partition("/")[0], pattern)


def group_params(
    params: Any, groups: Sequence[Group], layer_decay: float = 1.0, layers: Sequence[str] = ()
) -> Any:
    """Return a tree like `params` with the `Group` of each parameter. The first group that matches is taken.

    The learning rate of a layer is multiplied by `layer_decay` for each layer with a kernel that follows it.

    Args:
        params: the parameters.
        groups: the groups.
        layer_decay: the factor between the learning rates of a layer and the next one.
        layers: the names of the layers, from the images to the logits.

    Raises:
        ValueError: a group takes no parameter, or a layer is not named in `layers`.
    """
    if layer_decay != 1 and (missing := params.keys() - set(layers)):
        raise ValueError(f"layer_decay={layer_decay} needs the place of the layer {min(missing)} in layers")
    rates, rate = {}, 1.0
    for name in reversed(layers):
        rates[name] = rate
        if any(jax.tree.leaves(is_kernel(params.get(name)))):
            rate *= layer_decay
    taken = set()

    def group_of(path: tuple[Any, ...], _: Any) -> Group:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        group = next((group for group in groups if matches(group.match, name)), Group("*"))
        taken.add(group)
        if group.optimizer is None:
            factor = 1.0 if group.learning_rate is None else group.learning_rate
            group = replace(group, learning_rate=factor * rates.get(path[0].key, 1.0))
        return group

    tree = jax.tree_util.tree_map_with_path(group_of, params)
    for group in groups:
        if group not in taken:
            names = ", ".join(by_path(params))
            raise ValueError(f"match={group.match} is not allowed: it takes no parameter of {names}")
    return tree


def by_group(
    make: Callable[[Group], optax.GradientTransformation], group_all: Callable[[Any], Any]
) -> optax.GradientTransformation:
    """Return an optimizer that updates each group of parameters by an optimizer of its own.

    Args:
        make: returns the optimizer of a group.
        group_all: returns a tree with the group of each parameter.
    """

    def partition(params: Any) -> optax.GradientTransformation:
        tree = group_all(params)
        names = {group: str(number) for number, group in enumerate(dict.fromkeys(jax.tree.leaves(tree)))}
        transforms: dict[Any, Any] = {name: make(group) for group, name in names.items()}
        return optax.partition(transforms, jax.tree.map(names.get, tree))

    return optax.GradientTransformation(
        lambda params: partition(params).init(params),
        lambda updates, state, params=None: partition(updates).update(updates, state, params),
    )
