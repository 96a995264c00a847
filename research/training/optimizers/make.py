"""The optimizer of a name, with its learning rate and weight decay as data of its state."""

import inspect
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import jax
import numpy as np
import optax

from research.training.optimizers.chain import OnAll
from research.training.optimizers.groups import Group, by_group, group_params
from research.training.optimizers.lookahead import lookahead as make_lookahead
from research.training.optimizers.regularize import regularize, sharpness_aware
from research.training.optimizers.table import OPTIMIZERS
from research.utils.constraints import AtLeastOne, Between, NonNegative, Positive
from research.utils.lookup import lookup

RATES = ("learning_rate", "weight_decay")
"""The arguments that `make_optimizer` keeps in the state, so that a compiled program does not fix them."""


def make_optimizer(
    name: str,
    schedule: optax.Schedule,
    layers: Sequence[str] = (),
    *,
    groups: tuple[Group, ...] = (),
    layer_decay: Annotated[float, Between(0, 1, low_excluded=True)] = 1.0,
    lookahead: Annotated[int, AtLeastOne] | None = None,
    lookahead_step_size: Annotated[float, Between(0, 1, low_excluded=True)] = 0.5,
    decay_all: bool = False,
    clip_value: Annotated[float, Positive] | None = None,
    clip_agc: Annotated[float, Positive] | None = None,
    gradient_noise: Annotated[float, NonNegative] = 0.0,
    l1: Annotated[float, NonNegative] = 0.0,
    max_norm: Annotated[float, Positive] | None = None,
    sam: Annotated[float, Positive] | None = None,
    **arguments: Any,
) -> optax.GradientTransformationExtraArgs:
    """Return the optimizer of that name with its learning rate and weight decay as data of its state.

    Runs that differ in these two rates only share one compiled program. The keywords are arguments of every
    optimizer.

    Args:
        name: a name of `OPTIMIZERS`.
        schedule: function from a step to the factor of the learning rate, in [0, 1].
        layers: the names of the layers from the images to the logits; only `layer_decay` needs them.
        groups: mappings with `match` (a pattern such as `*/bias`), `optimizer`, `learning_rate` and
            `weight_decay`. The first group that matches a parameter is taken, and its rates are factors,
            unless it names an optimizer.
        layer_decay: the learning rate of a layer divided by that of the next layer with a kernel.
        lookahead: number of steps between updates of the slow weights; null: there are none.
        lookahead_step_size: step size of the slow weights, in (0, 1].
        decay_all: whether biases and the parameters of normalisation decay too, and not kernels alone.
        clip_value: largest magnitude of each number of the gradients; null does not clip them.
        clip_agc: largest norm of the gradient of each unit, as a multiple of the norm of the unit's
            parameters; null does not clip them.
        gradient_noise: variance of the noise that is added to the gradients in the first step. In step t it
            is divided by t^0.55.
        l1: factor of the signs of the kernels, which are added to their gradients.
        max_norm: largest norm of the part of a kernel that belongs to one output channel; null: no limit.
        sam: distance at which sharpness-aware minimisation takes the gradient, in a second gradient of each
            step; null: there is one gradient, at the parameters.
        arguments: arguments of the optimizer of that name; those that are left out have its defaults.

    Raises:
        ValueError: the name is unknown.
        TypeError: the optimizer has no argument of that name.

    Example:
        >>> from research.training.schedules import SCHEDULES
        >>> optimizer = make_optimizer("sgd", SCHEDULES["constant"](10))
        >>> state = optimizer.init({"kernel": 1.0})
        >>> {name: round(float(rate), 3) for name, rate in state.hyperparams.items()}
        {'learning_rate': 0.1, 'weight_decay': 0.0}
    """
    function = lookup(OPTIMIZERS, name, "optimizer")
    parameters = inspect.signature(function).parameters
    rates = {rate: arguments.pop(rate, parameters[rate].default) for rate in RATES}
    in_groups = bool(groups) or layer_decay != 1.0
    changes: dict[str, Any] = {"clip_value": clip_value, "clip_agc": clip_agc, "l1": l1, "max_norm": max_norm}
    changes["gradient_noise"] = gradient_noise
    if in_groups or any(changes.values()):  # the norm is that of all gradients, before anything is added
        changes["clip_norm"] = arguments.pop("clip_norm", None)
    group_all = partial(group_params, groups=groups, layer_decay=layer_decay, layers=layers)

    def with_rates(learning_rate: Any, weight_decay: Any) -> optax.GradientTransformation:
        def make(group: Group) -> optax.GradientTransformation:
            given = {rate: value for rate in RATES if (value := getattr(group, rate)) is not None}
            if group.optimizer is not None:
                return OPTIMIZERS[group.optimizer](schedule, **given)
            scaled = {"learning_rate": learning_rate, "weight_decay": weight_decay}
            scaled |= {rate: scaled[rate] * factor for rate, factor in given.items()}
            if decay_all:
                scaled["weight_decay"] = OnAll(scaled["weight_decay"])
            return function(schedule, **scaled, **arguments)

        optimizer = by_group(make, group_all) if in_groups else make(Group("*"))
        if any(changes.values()):
            optimizer = regularize(optimizer, **changes)
        if lookahead is not None:
            optimizer = make_lookahead(optimizer, lookahead, lookahead_step_size)
        return optimizer if sam is None else sharpness_aware(optimizer, sam)

    return optax.inject_hyperparams(with_rates)(**rates)


def set_rates(opt_state: Any, *, learning_rate: jax.Array, weight_decay: jax.Array) -> Any:
    """Return the state of an optimizer of `make_optimizer` with other rates, float32 `[]`."""
    return opt_state._replace(hyperparams={"learning_rate": learning_rate, "weight_decay": weight_decay})


def set_learning_rate(opt_state: Any, learning_rate: float) -> Any:
    """Return the state of an optimizer of `make_optimizer` with another learning rate on the same devices."""
    rates = opt_state.hyperparams
    old = rates["learning_rate"]
    new = jax.device_put(np.asarray(learning_rate, old.dtype), old.sharding)
    return set_rates(opt_state, **(rates | {"learning_rate": new}))
