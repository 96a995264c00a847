"""What the gradients of a network look like on given examples."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from research.compiler import for_few_calls
from research.layers import Array, Params


def gradient_statistics(loss: Callable[[Params], Array], params: Params) -> dict[str, dict[str, float]]:
    """Root mean square of the gradient of each parameter array, and its share of exact zeros.

    Args:
        loss: of the parameters alone, a number.
        params: where to take the gradient.

    Returns:
        By path: ``rms``; ``relative``, that divided by the root mean square of the parameters (NaN where they
        are all zero); ``zeros``, in [0, 1].

    Example:
        >>> params = {"a": {"kernel": jnp.ones(3)}}
        >>> gradient_statistics(lambda params: (params["a"]["kernel"] ** 2).sum(), params)["a/kernel"]
        {'rms': 2.0, 'relative': 2.0, 'zeros': 0.0}
    """
    grads = jax.jit(jax.grad(loss), compiler_options=for_few_calls())(params)
    found = {}
    for (path, gradient), array in zip(
        jax.tree_util.tree_leaves_with_path(grads), jax.tree.leaves(params), strict=True
    ):
        rms, size = (float(jnp.sqrt(jnp.mean(a**2))) for a in (gradient, array))
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        relative = rms / size if size else float("nan")
        found[name] = {"rms": rms, "relative": relative, "zeros": float((gradient == 0).mean())}
    return found
