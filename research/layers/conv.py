"""Convolution, and its depthwise separable form."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from research.layers.base import Array, Key, Params, Shape, State, cast, out_shape
from research.layers.initializers import INITIALIZERS
from research.ops.conv import CONV_ALGORITHMS, conv2d
from research.ops.padding import pair
from research.utils.lookup import lookup

Pair = int | tuple[int, int]
Padding = str | int | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Conv2D:
    """Convolution (cross-correlation) of images with a learned kernel.

    .. math:: y_{nijo} = b_o + \\sum_{hwc} K_{hwco} \\, x_{n,\\, si + dh,\\, sj + dw,\\, c}

    ``[N, H, W, C_in]`` to ``[N, H_out, W_out, features]``; parameters ``kernel``
    ``[kh, kw, C_in // groups, features]`` and ``bias`` ``[features]`` (zeros at first).

    Args:
        features: number of output channels.
        kernel_size, strides, dilation: one number, or a pair (height, width).
        padding: "SAME", "VALID", a number, or pairs ``((top, bottom), (left, right))``.
        padding_mode: what lies beyond the border: zeros, reflect, replicate or circular.
        groups: number of groups of channels that are convolved apart.
        initializer: a name from ``INITIALIZERS``.
        algorithm: a name from ``CONV_ALGORITHMS``, or "auto".

    Raises:
        ValueError: a name is unknown, or numbers, channels and image do not fit together.

    Example:
        >>> params, _ = Conv2D(8).init(jax.random.key(0), (1, 28, 28, 3))
        >>> params["kernel"].shape
        (3, 3, 3, 8)
    """

    features: int
    kernel_size: Pair = 3
    strides: Pair = 1
    padding: Padding = "SAME"
    padding_mode: str = "zeros"
    dilation: Pair = 1
    groups: int = 1
    use_bias: bool = True
    initializer: str = "he_normal"
    algorithm: str = "auto"

    def __post_init__(self) -> None:
        lookup(INITIALIZERS, self.initializer, "initializer")
        if self.algorithm != "auto":
            lookup(CONV_ALGORITHMS, self.algorithm, "convolution algorithm")
        if self.features < 1 or self.groups < 1 or self.features % self.groups:
            raise ValueError(f"features={self.features} is not a positive multiple of groups={self.groups}")

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        if len(in_shape) != 4:
            raise ValueError(f"Conv2D takes images [N, H, W, C], x has shape {list(in_shape)}")
        channels = in_shape[-1]
        if channels % self.groups:
            raise ValueError(f"x has {channels} channels, not a multiple of groups={self.groups}")
        shape = (*pair(self.kernel_size, "kernel_size"), channels // self.groups, self.features)
        params = {"kernel": lookup(INITIALIZERS, self.initializer, "initializer")(key, shape, jnp.float32)}
        if self.use_bias:
            params["bias"] = jnp.zeros(self.features, jnp.float32)
        out_shape(self, params, {}, in_shape)
        return params, {}

    def apply(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        y = conv2d(
            x,
            cast(params["kernel"], x),
            strides=self.strides,
            padding=self.padding,
            padding_mode=self.padding_mode,
            dilation=self.dilation,
            groups=self.groups,
            algorithm=self.algorithm,
        )
        if self.use_bias:
            y += cast(params["bias"], x)[None, None, None, :]
        return y, {}


@dataclass(frozen=True)
class DepthwiseSeparableConv:
    """A convolution of each channel alone, then a 1×1 convolution across channels.

    ``[N, H, W, C_in]`` to ``[N, H_out, W_out, features]``; parameters ``depthwise`` and ``pointwise``,
    each as those of ``Conv2D``. The bias belongs to the pointwise part.

    Args:
        features: number of output channels.
        kernel_size, strides, padding, padding_mode, dilation: of the depthwise part, as in ``Conv2D``.
        use_bias, initializer, algorithm: as in ``Conv2D``.

    Example:
        >>> params, _ = DepthwiseSeparableConv(8).init(jax.random.key(0), (1, 28, 28, 3))
        >>> params["depthwise"]["kernel"].shape, params["pointwise"]["kernel"].shape
        ((3, 3, 1, 3), (1, 1, 3, 8))

    Source: Howard et al. (2017), MobileNets, section 3.1.
    """

    features: int
    kernel_size: Pair = 3
    strides: Pair = 1
    padding: Padding = "SAME"
    padding_mode: str = "zeros"
    dilation: Pair = 1
    use_bias: bool = True
    initializer: str = "he_normal"
    algorithm: str = "auto"

    def parts(self, channels: int) -> tuple[Conv2D, Conv2D]:
        """The depthwise and the pointwise convolution for inputs of ``channels`` channels."""
        depthwise = Conv2D(
            channels,
            self.kernel_size,
            self.strides,
            self.padding,
            self.padding_mode,
            self.dilation,
            groups=channels,
            use_bias=False,
            initializer=self.initializer,
            algorithm=self.algorithm,
        )
        pointwise = Conv2D(
            self.features, 1, use_bias=self.use_bias, initializer=self.initializer, algorithm=self.algorithm
        )
        return depthwise, pointwise

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        depthwise, pointwise = self.parts(in_shape[-1])
        depthwise_params, _ = depthwise.init(jax.random.fold_in(key, 0), in_shape)
        middle = out_shape(depthwise, depthwise_params, {}, in_shape)
        pointwise_params, _ = pointwise.init(jax.random.fold_in(key, 1), middle)
        return {"depthwise": depthwise_params, "pointwise": pointwise_params}, {}

    def apply(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        depthwise, pointwise = self.parts(x.shape[-1])
        x, _ = depthwise.apply(params["depthwise"], {}, x, train=train)
        return pointwise.apply(params["pointwise"], {}, x, train=train)
