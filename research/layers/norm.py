"""Normalisation layers.

Each has the parameters `scale` `[C]`, which starts at one, and `bias` `[C]`, which starts at zero.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float

from research.layers.base import Array, Key, Params, Shape, State, make_hashable
from research.ops.batch_norm import normalize_batch
from research.ops.norm import batch_norm, group_norm, layer_norm
from research.ops.precision import as_float


@dataclass(frozen=True)
class BatchNorm:
    r"""Normalise each channel by the statistics of the batch or, outside training, by running averages.

    $$
    y = \gamma \, (x - \mu) / \sqrt{\sigma^2 + \epsilon} + \beta
    $$

    In training, $\mu$ and the biased $\sigma^2$ are those of the batch. The state holds running averages of
    them, `mean` `[C]`, which starts at zero, and `variance` `[C]`, which starts at one. Each step of training
    sets them to `decay * running + (1 - decay) * batch`. The statistics are computed in float32, or in
    float64 if the input is float64.

    Args:
        decay: the weight of the old running average, in [0, 1].
        epsilon: the number that is added to the variance.
        axis_name: the axis of `shard_map` or `pmap` over which the statistics are averaged. It is not needed
            under jit, where the batch is global.
        frozen: whether training also normalises by the running averages, and leaves them as they are.

    Source: Ioffe and Szegedy (2015), algorithms 1 and 2.
    """

    decay: float = 0.9
    epsilon: float = 1e-5
    axis_name: str | None = None
    frozen: bool = False

    def __post_init__(self) -> None:
        make_hashable(self)

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        """Return the scale and the bias, and the running averages as the state."""
        channels = in_shape[-1]
        state = {"mean": jnp.zeros(channels, jnp.float32), "variance": jnp.ones(channels, jnp.float32)}
        return _scale_and_bias(channels), state

    def apply(
        self,
        params: Params,
        state: State,
        x: Float[ArrayLike, "*batch c"],
        *,
        train: bool,
        key: Key | None = None,
    ) -> tuple[Float[Array, "*batch c"], State]:
        """Return the normalised input, with the shape and dtype of `x`, and the running averages."""
        scale, bias = params["scale"], params["bias"]
        if not train or self.frozen:
            return batch_norm(x, state["mean"], state["variance"], scale, bias, self.epsilon), state
        if 0 in jnp.shape(x):
            return as_float(x), state  # there are no examples whose statistics could be averaged
        y, mean, variance = normalize_batch(x, scale, bias, self.epsilon, self.axis_name)
        return y, {
            "mean": self._average(state["mean"], mean),
            "variance": self._average(state["variance"], variance),
        }

    def _average(self, running: Float[ArrayLike, " c"], batch: Float[Array, " c"]) -> Float[Array, " c"]:
        """Return the running average after one more batch."""
        running = jnp.asarray(running)
        return self.decay * running + (1 - self.decay) * batch.astype(running.dtype)


@dataclass(frozen=True)
class LayerNorm:
    """Normalise the channels of each pixel, or the features of each example, by `ops.norm.layer_norm`.

    Args:
        epsilon: the number that is added to the variance.

    Source: Ba et al. (2016), section 3.
    """

    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        make_hashable(self)

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        """Return the scale and the bias, and no state."""
        return _scale_and_bias(in_shape[-1]), {}

    def apply(
        self,
        params: Params,
        state: State,
        x: Float[ArrayLike, "*batch c"],
        *,
        train: bool,
        key: Key | None = None,
    ) -> tuple[Float[Array, "*batch c"], State]:
        """Return the normalised input, with the shape and dtype of `x`, and an empty state."""
        return layer_norm(x, params["scale"], params["bias"], epsilon=self.epsilon), {}


@dataclass(frozen=True)
class GroupNorm:
    """Normalise each group of channels of each example, by `ops.norm.group_norm`.

    Args:
        num_groups: the number of groups, which must divide the number of channels.
        epsilon: the number that is added to the variance.

    Raises:
        ValueError: `num_groups` does not divide the number of channels.

    Source: Wu and He (2018), section 3.
    """

    num_groups: int = 8
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        make_hashable(self)

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        """Return the scale and the bias, and no state."""
        if self.num_groups < 1 or in_shape[-1] % self.num_groups:
            raise ValueError(f"x has {in_shape[-1]} channels, not a multiple of num_groups={self.num_groups}")
        return _scale_and_bias(in_shape[-1]), {}

    def apply(
        self,
        params: Params,
        state: State,
        x: Float[ArrayLike, "*batch c"],
        *,
        train: bool,
        key: Key | None = None,
    ) -> tuple[Float[Array, "*batch c"], State]:
        """Return the normalised input, with the shape and dtype of `x`, and an empty state."""
        scale, bias = params["scale"], params["bias"]
        return group_norm(x, scale, bias, num_groups=self.num_groups, epsilon=self.epsilon), {}


def _scale_and_bias(channels: int) -> Params:
    """Return the parameters with which a layer changes only the statistics."""
    return {"scale": jnp.ones(channels, jnp.float32), "bias": jnp.zeros(channels, jnp.float32)}
