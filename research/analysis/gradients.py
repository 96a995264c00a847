"""Statistics of the gradients of a network on given examples."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from research.layers import Array, Params
from research.layers.base import by_path
from research.utils.xla import for_few_calls


def gradient_statistics(loss: Callable[[Params], Array], params: Params) -> dict[str, dict[str, float]]:
    """Return statistics of the gradient of each array of parameters.

    Args:
        loss: a function of the parameters that returns the loss, a scalar.
        params: the parameters at which the gradient is taken.

    Returns:
        A dict by the path of the array. Each entry has `rms`, the root mean square of the gradient;
        `relative`, which is `rms` divided by the root mean square of the parameters (NaN if all of them are
        zero); and `zeros`, the fraction of elements that are exactly zero.

    Example:
        >>> params = {"a": {"kernel": jnp.ones(3)}}
        >>> gradient_statistics(lambda params: (params["a"]["kernel"] ** 2).sum(), params)["a/kernel"]
        {'rms': 2.0, 'relative': 2.0, 'zeros': 0.0}
    """

    def compute(params: Params) -> tuple[Params, Params, Params]:
        grads = jax.grad(loss)(params)
        rms = partial(jax.tree.map, lambda a: jnp.sqrt(jnp.mean(a**2)))
        return rms(grads), rms(params), jax.tree.map(lambda a: (a == 0).mean(), grads)

    rms, sizes, zeros = (
        {name: float(value) for name, value in by_path(tree).items()}
        for tree in jax.jit(compute, compiler_options=for_few_calls())(params)
    )
    return {
        name: {
            "rms": rms[name],
            "relative": rms[name] / sizes[name] if sizes[name] else float("nan"),
            "zeros": zeros[name],
        }
        for name in rms
    }
