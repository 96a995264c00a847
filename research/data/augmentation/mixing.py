r"""Augmentations that mix each image with a partner from the same batch, and the labels in the same share.

$$
x = w \odot x_1 + (1 - w) \odot x_2, \qquad y = \bar w\, y_1 + (1 - \bar w)\, y_2
$$

The weights $w$ have one number for each pixel, and $\bar w$ is their mean. A step draws one array of weights
for its whole batch, as the papers do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp

from research.data.augmentation.base import Probability, draw_between, sometimes
from research.utils.constraints import Between

Alpha = Annotated[float, Between(0.01, 100)]


@dataclass(frozen=True)
class Mixing:
    """The weights with which each image of a batch is mixed with its partner.

    Args:
        draw: `draw(key, height, width)` returns the weights `[H, W, 1]` of the image itself, float32 from 0
            to 1.
        probability: the probability with which a batch is mixed.
    """

    draw: Callable[[jax.Array, int, int], jax.Array]
    probability: float = 1.0

    @classmethod
    def one_of(cls, mixings: Sequence["Mixing"]) -> "Mixing | None":
        """Return what mixes each batch by one of several mixings, all equally probable.

        Args:
            mixings: the mixings; for none, the result is `None`.
        """
        if len(mixings) < 2:
            return mixings[0] if mixings else None

        def draw(key: jax.Array, height: int, width: int) -> jax.Array:
            which, weights = jax.random.split(key)
            index = jax.random.randint(which, (), 0, len(mixings))
            return jax.lax.select_n(index, *(mixing(weights, height, width) for mixing in mixings))

        return cls(draw)

    def __call__(self, key: jax.Array, height: int, width: int, /) -> jax.Array:
        """Return the weights `[H, W, 1]`; they are 1 for a batch that is not mixed."""
        ones = jnp.ones((height, width, 1), jnp.float32)
        return sometimes(self.probability, lambda key: self.draw(key, height, width), key, ones)


def mixup(*, alpha: Alpha = 0.2, probability: Probability = 1.0) -> Mixing:
    r"""Return mixup: all pixels have the same weight, drawn from $\mathrm{Beta}(\alpha, \alpha)$.

    Args:
        alpha: the parameter $\alpha$; at 1, all weights are equally probable; below 1, those near 0 and 1
            are more probable.
        probability: the probability with which a batch is mixed.

    Source: Zhang et al. (2018), mixup: beyond empirical risk minimization.
    """

    def draw(key: jax.Array, height: int, width: int) -> jax.Array:
        return jnp.broadcast_to(jax.random.beta(key, alpha, alpha, (), jnp.float32), (height, width, 1))

    return Mixing(draw, probability)


def cutmix(*, alpha: Alpha = 1.0, probability: Probability = 1.0) -> Mixing:
    r"""Return CutMix: a rectangle with the shape of the image is taken from the partner.

    The part of the area that stays is drawn from $\mathrm{Beta}(\alpha, \alpha)$, and the centre of the
    rectangle uniformly from the image. What lies outside of the image is cut off, and the labels are mixed by
    the area that is left.

    Args:
        alpha: the parameter $\alpha$; at 1, all parts are equally probable.
        probability: the probability with which a batch is mixed.

    Source: Yun et al. (2019), CutMix: regularization strategy to train strong classifiers with localizable
    features.
    """

    def draw(key: jax.Array, height: int, width: int) -> jax.Array:
        keys = jax.random.split(key, 3)
        side = jnp.sqrt(1 - jax.random.beta(keys[0], alpha, alpha, (), jnp.float32))
        inside = jnp.ones((height, width, 1), bool)
        for axis, size in enumerate((height, width)):
            centre, half = draw_between(keys[1 + axis], 0.0, float(size)), side * size / 2
            first, last = jnp.rint(centre - half), jnp.rint(centre + half)
            place = jnp.arange(size, dtype=jnp.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
            inside = inside & (place >= first) & (place < last)
        return 1 - inside.astype(jnp.float32)

    return Mixing(draw, probability)
