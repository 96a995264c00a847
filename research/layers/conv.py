"""Convolution, and its depthwise separable form."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float

from research.layers.base import Array, Key, Params, Shape, State, cast, make_hashable, out_shape
from research.layers.initializers import INITIALIZERS
from research.ops.channels import add_bias
from research.ops.conv import CONV_ALGORITHMS, conv2d
from research.ops.padding import Padding, Size, pair
from research.ops.precision import as_float
from research.utils.lookup import lookup


@dataclass(frozen=True)
class Conv2D:
    r"""Convolve images with a learned kernel, and add a bias.

    $$
    y_{nijo} = b_o + \sum_{hwc} K_{hwco} \, x_{n,\, si + dh,\, sj + dw,\, c}
    $$

    The layer turns `[N, H, W, C_in]` into `[N, H_out, W_out, features]`. Its parameters are `kernel`
    `[kh, kw, C_in // groups, features]` and `bias` `[features]`, which starts at zero. As everywhere in deep
    learning, the convolution is a cross-correlation.

    Args:
        features: the number of output channels.
        kernel_size: the size of the kernel, one number or a pair `(height, width)`.
        strides: the step of the window in pixels, one number or a pair `(height, width)`.
        padding: the padding, `"SAME"`, `"VALID"`, a number of pixels, `(height, width)`, or
            `((top, bottom), (left, right))`.
        padding_mode: what the border holds: `zeros`, `reflect`, `symmetric`, `replicate` or `circular`.
        dilation: the distance in pixels between neighbouring kernel elements, one number or a pair.
        groups: the number of groups of channels that are convolved separately.
        use_bias: whether a bias is added.
        initializer: the name of the kernel's initializer in `INITIALIZERS`.
        algorithm: the name of an algorithm in `CONV_ALGORITHMS`, or `"auto"`.

    Raises:
        ValueError: a name is unknown, or the numbers, the channels and the image do not fit together.

    Example:
        >>> params, _ = Conv2D(8).init(jax.random.key(0), (1, 28, 28, 3))
        >>> params["kernel"].shape
        (3, 3, 3, 8)
    """

    features: int
    kernel_size: Size = 3
    strides: Size = 1
    padding: Padding = "SAME"
    padding_mode: str = "zeros"
    dilation: Size = 1
    groups: int = 1
    use_bias: bool = True
    initializer: str = "he_normal"
    algorithm: str = "auto"

    def __post_init__(self) -> None:
        make_hashable(self)
        lookup(INITIALIZERS, self.initializer, "initializer")
        if self.algorithm != "auto":
            lookup(CONV_ALGORITHMS, self.algorithm, "convolution algorithm")
        if self.features < 1 or self.groups < 1 or self.features % self.groups:
            raise ValueError(f"features={self.features} is not a positive multiple of groups={self.groups}")

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        """Return the kernel and the bias, and no state."""
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
        self,
        params: Params,
        state: State,
        x: Float[ArrayLike, "n h w c_in"],
        *,
        train: bool,
        key: Key | None = None,
    ) -> tuple[Float[Array, "n h_out w_out {self.features}"], State]:
        """Return the output `[N, H_out, W_out, features]`, with the dtype of `x`, and an empty state."""
        x = as_float(x)
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
            y = add_bias(y, cast(params["bias"], x))
        return y, {}


@dataclass(frozen=True)
class DepthwiseSeparableConv:
    """Convolve each channel separately, and then all channels together by a 1×1 convolution.

    The layer turns `[N, H, W, C_in]` into `[N, H_out, W_out, features]`. Its parameters are two dicts,
    `depthwise` and `pointwise`, each with the parameters of a `Conv2D`.

    Args:
        features: the number of output channels.
        kernel_size: the kernel size of the depthwise convolution.
        strides: the strides of the depthwise convolution.
        padding: the padding of the depthwise convolution.
        padding_mode: the padding mode of the depthwise convolution.
        dilation: the dilation of the depthwise convolution.
        use_bias: whether the pointwise convolution adds a bias. The depthwise convolution has none.
        initializer: the name of the initializer of both kernels in `INITIALIZERS`.
        algorithm: the name of the algorithm of both convolutions in `CONV_ALGORITHMS`, or `"auto"`.

    Raises:
        ValueError: a name is unknown, or the numbers, the channels and the image do not fit together.

    Example:
        >>> params, _ = DepthwiseSeparableConv(8).init(jax.random.key(0), (1, 28, 28, 3))
        >>> params["depthwise"]["kernel"].shape, params["pointwise"]["kernel"].shape
        ((3, 3, 1, 3), (1, 1, 3, 8))

    Source: Howard et al. (2017), MobileNets, section 3.1.
    """

    features: int
    kernel_size: Size = 3
    strides: Size = 1
    padding: Padding = "SAME"
    padding_mode: str = "zeros"
    dilation: Size = 1
    use_bias: bool = True
    initializer: str = "he_normal"
    algorithm: str = "auto"

    def __post_init__(self) -> None:
        make_hashable(self)

    def parts(self, channels: int) -> tuple[Conv2D, Conv2D]:
        """Return the depthwise and the pointwise convolution for inputs with `channels` channels."""
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
        """Return the parameters of both convolutions, and no state."""
        depthwise, pointwise = self.parts(in_shape[-1])
        depthwise_params, _ = depthwise.init(jax.random.fold_in(key, 0), in_shape)
        middle = out_shape(depthwise, depthwise_params, {}, in_shape)
        pointwise_params, _ = pointwise.init(jax.random.fold_in(key, 1), middle)
        return {"depthwise": depthwise_params, "pointwise": pointwise_params}, {}

    def apply(
        self,
        params: Params,
        state: State,
        x: Float[ArrayLike, "n h w c_in"],
        *,
        train: bool,
        key: Key | None = None,
    ) -> tuple[Float[Array, "n h_out w_out {self.features}"], State]:
        """Return the output `[N, H_out, W_out, features]`, with the dtype of `x`, and an empty state."""
        x = as_float(x)
        depthwise, pointwise = self.parts(x.shape[-1])
        x, _ = depthwise.apply(params["depthwise"], {}, x, train=train)
        return pointwise.apply(params["pointwise"], {}, x, train=train)
