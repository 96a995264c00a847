"""Gradient descent in NumPy: each optimizer is a pair of functions over dicts of named arrays."""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

Arrays = dict[str, np.ndarray]


class Optimizer(NamedTuple):
    """`init(params) -> state` and `update(params, gradients, state) -> (params, state)`."""

    init: Callable[[Arrays], Any]
    update: Callable[[Arrays, Arrays, Any], tuple[Arrays, Any]]


@runtime_checkable
class MakeOptimizer(Protocol):
    """A function that makes an optimizer."""

    def __call__(self, *arguments: Any, **numbers: Any) -> Optimizer:
        """Return the optimizer for a learning rate and further hyper-parameters by name."""
        ...


def sgd(learning_rate: float) -> Optimizer:
    """Return gradient descent: θ ← θ − η g."""

    def update(params: Arrays, gradients: Arrays, state: None) -> tuple[Arrays, None]:
        return {name: p - learning_rate * gradients[name] for name, p in params.items()}, state

    return Optimizer(lambda params: None, update)


def momentum(learning_rate: float, decay: float = 0.9) -> Optimizer:
    """Return gradient descent with momentum: v ← μ v + g,  θ ← θ − η v.

    Source: Polyak (1964), Some methods of speeding up the convergence of iteration methods.
    """

    def update(params: Arrays, gradients: Arrays, velocity: Arrays) -> tuple[Arrays, Arrays]:
        velocity = {name: decay * v + gradients[name] for name, v in velocity.items()}
        return {name: p - learning_rate * velocity[name] for name, p in params.items()}, velocity

    return Optimizer(_zeros, update)


def adam(learning_rate: float, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Optimizer:
    """Return Adam: θ ← θ − η m̂ / (√v̂ + ε).

    m ← β₁ m + (1 − β₁) g and v ← β₂ v + (1 − β₂) g².
    m̂ = m / (1 − β₁ᵗ) and v̂ = v / (1 − β₂ᵗ) undo the start from zero at step t = 1, 2, …

    Source: Kingma and Ba (2015), Adam, algorithm 1.
    """

    def update(params: Arrays, gradients: Arrays, state: Any) -> tuple[Arrays, Any]:
        t, m, v = state
        t = t + 1
        m = {name: beta1 * m[name] + (1 - beta1) * g for name, g in gradients.items()}
        v = {name: beta2 * v[name] + (1 - beta2) * g**2 for name, g in gradients.items()}
        rate, correction = learning_rate / (1 - beta1**t), 1 - beta2**t
        new = {n: p - rate * m[n] / (np.sqrt(v[n] / correction) + epsilon) for n, p in params.items()}
        return new, (t, m, v)

    return Optimizer(lambda params: (0, _zeros(params), _zeros(params)), update)


def _zeros(params: Arrays) -> Arrays:
    return {name: np.zeros_like(p) for name, p in params.items()}


OPTIMIZERS: dict[str, MakeOptimizer] = {"sgd": sgd, "momentum": momentum, "adam": adam}
