"""The optimizer of a name, with its learning rate and weight decay as data of its state."""

import inspect
from typing import Any

import jax
import optax

from research.training.optimizers.table import OPTIMIZERS
from research.utils.lookup import lookup

RATES = ("learning_rate", "weight_decay")
"""The arguments that `make_optimizer` keeps in the state, so that a compiled program does not fix them."""


def make_optimizer(
    name: str, schedule: optax.Schedule, **arguments: Any
) -> optax.GradientTransformationExtraArgs:
    """Return the optimizer of that name with its learning rate and weight decay as data of its state.

    Runs that differ in these two rates only share one compiled program.

    Args:
        name: a name of `OPTIMIZERS`.
        schedule: function from a step to the factor of the learning rate, in [0, 1].
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

    def with_rates(learning_rate: Any, weight_decay: Any) -> optax.GradientTransformation:
        return function(schedule, learning_rate=learning_rate, weight_decay=weight_decay, **arguments)

    return optax.inject_hyperparams(with_rates)(**rates)


def set_rates(opt_state: Any, *, learning_rate: jax.Array, weight_decay: jax.Array) -> Any:
    """Return the state of an optimizer of `make_optimizer` with other rates, float32 `[]`."""
    return opt_state._replace(hyperparams={"learning_rate": learning_rate, "weight_decay": weight_decay})
