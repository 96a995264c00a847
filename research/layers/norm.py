"""Normalisation layers. All have parameters ``scale`` (ones at first) and ``bias`` (zeros), ``[C]`` each."""

from dataclasses import dataclass

import jax.numpy as jnp

from research.layers.base import Array, Key, Params, Shape, State
from research.ops.batch_norm import normalize_batch
from research.ops.norm import batch_norm, group_norm, layer_norm


@dataclass(frozen=True)
class BatchNorm:
    """Normalisation of each channel over the batch and, if not training, by running averages.

    .. math:: y = \\gamma \\, (x - \\mu) / \\sqrt{\\sigma^2 + \\epsilon} + \\beta

    While training, ``mu`` and ``sigma^2`` (two-pass, not Bessel-corrected) are of the batch, and the state
    ``mean`` (zeros at first) and ``variance`` (ones) moves towards them:
    ``decay * running + (1 - decay) * batch``. Statistics are float32, float64 for float64 inputs.

    Args:
        decay: weight of the old running average, in [0, 1].
        epsilon: added to the variance.
        axis_name: axis of ``shard_map`` or ``pmap`` to average over; not needed under jit, where the batch
            is global.

    Source: Ioffe and Szegedy (2015), algorithms 1 and 2.
    """

    decay: float = 0.9
    epsilon: float = 1e-5
    axis_name: str | None = None

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        channels = in_shape[-1]
        state = {"mean": jnp.zeros(channels, jnp.float32), "variance": jnp.ones(channels, jnp.float32)}
        return _scale_and_bias(channels), state

    def apply(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        scale, bias = params["scale"], params["bias"]
        if not train:
            return batch_norm(x, state["mean"], state["variance"], scale, bias, self.epsilon), state
        y, mean, variance = normalize_batch(x, scale, bias, self.epsilon, self.axis_name)
        return y, {
            "mean": self._average(state["mean"], mean),
            "variance": self._average(state["variance"], variance),
        }

    def _average(self, running: Array, batch: Array) -> Array:
        return self.decay * running + (1 - self.decay) * batch.astype(running.dtype)


@dataclass(frozen=True)
class LayerNorm:
    """Normalisation of each example by itself, see ``research.ops.norm.layer_norm``.

    Args:
        epsilon: added to the variance.

    Source: Ba et al. (2016), section 3.
    """

    epsilon: float = 1e-5

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        return _scale_and_bias(in_shape[-1]), {}

    def apply(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        return layer_norm(x, params["scale"], params["bias"], epsilon=self.epsilon), {}


@dataclass(frozen=True)
class GroupNorm:
    """Normalisation of each example over groups of channels, see ``research.ops.norm.group_norm``.

    Args:
        num_groups: number of groups; the channels must be a multiple of it.
        epsilon: added to the variance.

    Raises:
        ValueError: the channels do not divide into the groups.

    Source: Wu and He (2018), section 3.
    """

    num_groups: int = 8
    epsilon: float = 1e-5

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        if self.num_groups < 1 or in_shape[-1] % self.num_groups:
            raise ValueError(f"x has {in_shape[-1]} channels, not a multiple of num_groups={self.num_groups}")
        return _scale_and_bias(in_shape[-1]), {}

    def apply(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        scale, bias = params["scale"], params["bias"]
        return group_norm(x, scale, bias, num_groups=self.num_groups, epsilon=self.epsilon), {}


def _scale_and_bias(channels: int) -> Params:
    return {"scale": jnp.ones(channels, jnp.float32), "bias": jnp.zeros(channels, jnp.float32)}
