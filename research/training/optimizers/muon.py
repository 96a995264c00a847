"""Muon, which makes the singular values of the updates of kernels equal."""

import math
from typing import Annotated, Any

import jax
import numpy as np
import optax
from optax.contrib import MuonDimensionNumbers, scale_by_muon

from research.training.optimizers.chain import (
    ClipNorm,
    Decay,
    Epsilon,
    LearningRate,
    WeightDecay,
    chain,
    decay_kernels,
)
from research.utils.constraints import Positive

HEAD = "logits"
"""The layer that computes the logits, in every network of `MODELS`."""


def muon(
    schedule: optax.Schedule,
    *,
    learning_rate: LearningRate = 0.02,
    weight_decay: WeightDecay = 0.01,
    clip_norm: ClipNorm = None,
    momentum: Decay = 0.95,
    nesterov: bool = True,
    adam_factor: Annotated[float, Positive] = 0.15,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    epsilon: Epsilon = 1e-8,
) -> optax.GradientTransformation:
    r"""Return Muon for the kernels of hidden layers, and Adam for all other parameters.

    A kernel `[..., C_in, C_out]` is a matrix with one column for each feature. With its gradient $G_t$, the
    momentum $\mu$, the weight decay $\lambda$ (of kernels), the learning rate $\alpha$ and its factor $s_t$;
    $M_0 = 0$:

    $$
    M_t = \mu M_{t-1} + (1 - \mu) G_t, \qquad
    N_t = \frac{\mu M_t}{1 - \mu^{t+1}} + \frac{(1 - \mu) G_t}{1 - \mu^t}, \qquad
    X_0 = \frac{N_t}{\lVert N_t \rVert_F + \epsilon}
    $$

    $$
    A = X_k X_k^\top, \qquad X_{k+1} = 3.4445 X_k - 4.775 A X_k + 2.0315 A^2 X_k
    $$

    $$
    \theta_t = \theta_{t-1} - \alpha s_t \left(\sqrt{\max(1, n / m)} \, X_5 + \lambda \theta_{t-1}\right)
    $$

    The matrix has $m$ rows and $n$ columns. After five of these Newton-Schulz iterations the singular values
    of $X$ are between about 0.5 and 1.3. The parameters of the layer `logits`, biases and the parameters of
    normalisation follow Adam with the learning rate $0.15 \alpha$.

    optax corrects the bias of the momentum, which changes the weights of $M_t$ and $G_t$ in the first steps;
    Jordan does not. Without `nesterov`, $N_t$ is $M_t / (1 - \mu^t)$, and the updates of optax and of Jordan
    are the same.

    Args:
        schedule: function from a step to the factor of the learning rate.
        learning_rate: the largest learning rate.
        weight_decay: factor of the kernels that is added to their updates.
        clip_norm: largest global norm of the gradients; `None` does not clip them.
        momentum: decay of the average of the gradients, in [0, 1).
        nesterov: add the gradient to its average, as in Nesterov momentum.
        adam_factor: learning rate of Adam divided by that of Muon.
        b1: decay of Adam's average of the gradients, in [0, 1).
        b2: decay of Adam's average of the squared gradients, in [0, 1).
        epsilon: number that is added to the root in Adam, and to the norm of a matrix in Muon.

    Example:
        >>> import jax.numpy as jnp
        >>> params = {"conv1": {"kernel": jnp.ones((1, 1, 1, 4))}}
        >>> optimizer = muon(lambda step: 1.0, learning_rate=1.0, weight_decay=0.0)
        >>> updates, _ = optimizer.update(params, optimizer.init(params), params)
        >>> 0.5 < -float(updates["conv1"]["kernel"][0, 0, 0, 0]) < 1.3  # 1/2, times the factor 2 for 1 by 4
        True

    Source: Jordan (2024), Muon: an optimizer for hidden layers in neural networks.
    """
    matrices = scale_by_muon(
        beta=momentum, nesterov=nesterov, eps=epsilon, weight_dimension_numbers=_dimension_numbers
    )
    adam = optax.chain(optax.scale_by_adam(b1, b2, epsilon), optax.scale(adam_factor))
    parts = optax.partition(
        {"muon": optax.chain(matrices, optax.stateless(_scale_by_shape)), "adam": adam}, _labels
    )
    return chain(schedule, learning_rate, clip_norm, parts, decay_kernels(weight_decay))


def _labels(params: Any) -> Any:
    def label(path: tuple[Any, ...], leaf: jax.Array) -> str:
        names = [entry.key for entry in path]
        return "muon" if np.ndim(leaf) > 1 and names[-1] == "kernel" and names[0] != HEAD else "adam"

    return jax.tree_util.tree_map_with_path(label, params)


def _dimension_numbers(kernels: Any) -> Any:
    return jax.tree.map(
        lambda kernel: MuonDimensionNumbers(tuple(range(kernel.ndim - 1)), kernel.ndim - 1), kernels
    )


def _scale_by_shape(updates: Any, _: Any) -> Any:
    def scale(update: jax.Array) -> jax.Array:
        rows, columns = math.prod(update.shape[:-1]), update.shape[-1]
        return math.sqrt(max(1, columns / rows)) * update

    return jax.tree.map(scale, updates)
