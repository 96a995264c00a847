"""The layers of a convolutional network in NumPy, each with its gradient worked out by hand.

Every layer is a function `layer(x, **parameters) -> (y, backward)`. `backward` takes the gradient of the
loss with respect to `y`, and returns the gradient with respect to `x` and the gradients of the parameters by
name. `backward` is a closure, so it finds what it needs from the forward pass in the variables around it. In
the formulas d stands for the gradient of the loss: dx is ∂L/∂x. Images are `[N, H, W, C]`, and arrays keep
their dtype.
"""

from collections.abc import Iterator
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Array = np.ndarray
Gradients = dict[str, Array]


@runtime_checkable
class Backward(Protocol):
    """The backward pass of a layer."""

    def __call__(self, dy: Array, /) -> tuple[Array, Gradients]:
        """Return the gradient of the input, and the gradients of the parameters by name."""
        ...


@runtime_checkable
class Layer(Protocol):
    """A layer."""

    def __call__(self, *inputs: Any, **parameters: Any) -> tuple[Array, Backward]:
        """Return the output for the input and the parameters, and the backward pass."""
        ...


def dense(x: Array, *, kernel: Array, bias: Array) -> tuple[Array, Backward]:
    """Return the output of a dense layer, and its backward pass.

    y = x W + b;  dx = dy Wᵀ,  dW = xᵀ dy,  db = Σ_n dy_n

    Args:
        x: `[N, D_in]`.
        kernel: W, `[D_in, D_out]`.
        bias: b, `[D_out]`.
    """

    def backward(dy: Array) -> tuple[Array, Gradients]:
        ones = np.ones(len(dy), dy.dtype)  # a product with ones is ten times as fast as sum(axis=0)
        return dy @ kernel.T, {"kernel": x.T @ dy, "bias": ones @ dy}

    y = x @ kernel
    y += bias
    return y, backward


def conv2d(
    x: Array, *, kernel: Array, bias: Array, stride: int = 1, padding: Literal["SAME", "VALID"] | int = "SAME"
) -> tuple[Array, Backward]:
    """Return a convolution (cross-correlation), computed as one matrix product, and its backward pass.

    y_{nijo} = b_o + Σ_{pqc} K_{pqco} x_{n, s i + p, s j + q, c}. With P = im2col(x), one row per output
    pixel and one column per entry of the kernel, it is a dense layer: y = P K + b;
    dP = dy Kᵀ,  dx = col2im(dP),  dK = Pᵀ dy,  db = Σ_{nij} dy_{nij}

    Args:
        x: `[N, H, W, C_in]`.
        kernel: K, `[kh, kw, C_in, C_out]`.
        bias: b, `[C_out]`.
        stride: s, the number of pixels between two windows, in height and width.
        padding: "SAME", "VALID" or the number of zeros that are added on each side.

    Raises:
        ValueError: kernel and x differ in channels.

    Example:
        >>> y, backward = conv2d(np.ones((1, 4, 4, 1)), kernel=np.ones((3, 3, 1, 2)), bias=np.zeros(2))
        >>> y[0, :, :, 0].tolist()[0]
        [4.0, 6.0, 6.0, 4.0]
        >>> dx, gradients = backward(np.ones_like(y))
        >>> dx.shape, gradients["kernel"].shape
        ((1, 4, 4, 1), (3, 3, 1, 2))
    """
    kh, kw, channels, features = kernel.shape
    if x.shape[3] != channels:
        raise ValueError(f"kernel has {channels} input channels, x has {x.shape[3]}")
    pads = _pads(x.shape[1:3], (kh, kw), stride, padding)
    padded = np.pad(x, ((0, 0), *pads, (0, 0)))
    patches = im2col(padded, (kh, kw), stride)
    rows = patches.reshape(-1, kh * kw * channels)
    y, dense_backward = dense(rows, kernel=kernel.reshape(-1, features), bias=bias)

    def backward(dy: Array) -> tuple[Array, Gradients]:
        dpatches, gradients = dense_backward(dy.reshape(-1, features))
        dpadded = col2im(dpatches.reshape(patches.shape), padded.shape, stride)
        (top, _), (left, _) = pads
        dx = dpadded[:, top : top + x.shape[1], left : left + x.shape[2]]
        return dx, gradients | {"kernel": gradients["kernel"].reshape(kernel.shape)}

    return y.reshape(*patches.shape[:3], features), backward


def im2col(x: Array, window: tuple[int, int], stride: int) -> Array:
    """Return a copy of each window of the images `[N, H, W, C]`, `[N, H_out, W_out, kh, kw, C]`."""
    windows = sliding_window_view(x, window, axis=(1, 2))[:, ::stride, ::stride]
    return np.ascontiguousarray(windows.transpose(0, 1, 2, 4, 5, 3))


def col2im(patches: Array, shape: tuple[int, ...], stride: int) -> Array:
    """Return images in which each window is added back to its pixels: the adjoint of `im2col`."""
    x = np.zeros(shape, patches.dtype)
    for p, q, pixels in _offsets(patches.shape[1:3], patches.shape[3:5], stride):
        x[pixels] += patches[:, :, :, p, q]
    return x


def _offsets(
    out_size: tuple[int, ...], window: tuple[int, ...], stride: int
) -> Iterator[tuple[int, int, tuple[slice, ...]]]:
    """Yield each position in a window, and the pixels that all windows have at that position."""
    height, width = ((size - 1) * stride + 1 for size in out_size)
    for p, q in np.ndindex(*window):
        yield p, q, (slice(None), slice(p, p + height, stride), slice(q, q + width, stride))


def _pads(
    size: tuple[int, ...], window: tuple[int, int], stride: int, padding: str | int
) -> list[tuple[int, int]]:
    """Return the zeros before and after each axis. SAME keeps ⌈size / stride⌉ pixels."""
    if isinstance(padding, int) or padding == "VALID":
        return [(0, 0) if padding == "VALID" else (padding, padding)] * 2
    totals = [max((-(-n // stride) - 1) * stride + k - n, 0) for n, k in zip(size, window, strict=True)]
    return [(total // 2, total - total // 2) for total in totals]


def _pool_offsets(x: Array, window: int, stride: int) -> list[tuple[slice, ...]]:
    out_size = tuple((size - window) // stride + 1 for size in x.shape[1:3])
    return [pixels for *_, pixels in _offsets(out_size, (window, window), stride)]


def max_pool(x: Array, *, window: int = 2, stride: int = 2) -> tuple[Array, Backward]:
    """Return the largest value of each window, and the backward pass.

    y_{nijc} = max_{pq} x_{n, s i + p, s j + q, c}. The gradient goes only to the pixel that was the largest,
    or to the first of several equal ones, so the forward pass keeps the position of that pixel.

    Args:
        x: `[N, H, W, C]`.
        window: side of the square window in pixels; a window that does not fit is left out.
        stride: s, the number of pixels between two windows.
    """
    offsets = _pool_offsets(x, window, stride)
    y = x[offsets[0]]
    winner = np.zeros(y.shape, np.int16)
    for i, pixels in enumerate(offsets[1:], start=1):
        winner = np.where(x[pixels] > y, np.int16(i), winner)
        y = np.maximum(y, x[pixels])

    def backward(dy: Array) -> tuple[Array, Gradients]:
        dx = np.zeros_like(x)
        for i, pixels in enumerate(offsets):
            dx[pixels] += dy * (winner == i)
        return dx, {}

    return y, backward


def average_pool(x: Array, *, window: int = 2, stride: int = 2) -> tuple[Array, Backward]:
    """Return the mean of each window, and the backward pass; the arguments are those of `max_pool`.

    y_{nijc} = 1/w² Σ_{pq} x_{n, s i + p, s j + q, c}. Each pixel of a window gets dy / w².
    """
    offsets = _pool_offsets(x, window, stride)

    def backward(dy: Array) -> tuple[Array, Gradients]:
        dx = np.zeros_like(x)
        for pixels in offsets:
            dx[pixels] += dy / window**2
        return dx, {}

    return np.mean([x[pixels] for pixels in offsets], axis=0, dtype=x.dtype), backward


def flatten(x: Array) -> tuple[Array, Backward]:
    """Return images `[N, H, W, C]` as rows `[N, H W C]`, in which the channels change fastest."""
    return x.reshape(len(x), -1), lambda dy: (dy.reshape(x.shape), {})


def relu(x: Array) -> tuple[Array, Backward]:
    """Return the rectified linear unit: y = max(x, 0);  dx = dy [x > 0]."""
    return np.maximum(x, 0), lambda dy: (dy * (x > 0), {})


def leaky_relu(x: Array, *, slope: float = 0.01) -> tuple[Array, Backward]:
    """Return the leaky ReLU: y = x where x > 0, else a x;  dx = dy or a dy."""
    return np.where(x > 0, x, slope * x), lambda dy: (np.where(x > 0, dy, slope * dy), {})


def elu(x: Array) -> tuple[Array, Backward]:
    """Return the exponential linear unit: y = x where x > 0, else eˣ − 1;  dx = dy or dy (y + 1)."""
    y = np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
    return y, lambda dy: (np.where(x > 0, dy, dy * (y + 1)), {})


def tanh(x: Array) -> tuple[Array, Backward]:
    """Return the hyperbolic tangent: y = tanh x;  dx = dy (1 − y²)."""
    y = np.tanh(x)
    return y, lambda dy: (dy * (1 - y**2), {})


def sigmoid(x: Array) -> tuple[Array, Backward]:
    """Return the sigmoid: y = 1 / (1 + e⁻ˣ), as (1 + tanh(x/2)) / 2, without overflow;  dx = dy y (1 − y)."""
    y = (1 + np.tanh(x / 2)) / 2
    return y, lambda dy: (dy * y * (1 - y), {})


def batch_norm(
    x: Array,
    *,
    scale: Array,
    bias: Array,
    running: dict[str, Array],
    train: bool,
    decay: float = 0.9,
    epsilon: float = 1e-5,
) -> tuple[Array, Backward]:
    """Return each channel normalised over the batch and the pixels, and the backward pass.

    x̂ = (x − μ) / σ,  y = γ x̂ + β,  σ² = Var x + ε. As μ and σ depend on every x of the channel, with
    g = γ dy and means over the channel:
    dx = (g − mean(g) − x̂ mean(g x̂)) / σ,  dγ = Σ dy x̂,  dβ = Σ dy

    Args:
        x: `[..., C]`.
        scale: γ, `[C]`.
        bias: β, `[C]`.
        running: the running averages "mean" and "variance", `[C]` each. Training updates them in place;
            otherwise they are used instead of the statistics of the batch.
        train: whether μ and σ are those of the batch.
        decay: share of the running averages that is kept at each step.
        epsilon: ε, added to the variance.

    Source: Ioffe and Szegedy (2015), Batch normalization, section 3.
    """
    axes = tuple(range(x.ndim - 1))
    mean, variance = (x.mean(axes), x.var(axes)) if train else (running["mean"], running["variance"])
    deviation = np.sqrt(variance + epsilon)
    normalized = (x - mean) / deviation
    if train:
        running["mean"] = decay * running["mean"] + (1 - decay) * mean
        running["variance"] = decay * running["variance"] + (1 - decay) * variance

    def backward(dy: Array) -> tuple[Array, Gradients]:
        g = scale * dy
        if train:
            g = g - g.mean(axes) - normalized * (g * normalized).mean(axes)
        return g / deviation, {"scale": (dy * normalized).sum(axes), "bias": dy.sum(axes)}

    return scale * normalized + bias, backward


def dropout(x: Array, *, rate: float, generator: np.random.Generator) -> tuple[Array, Backward]:
    """Return inverted dropout: y = x m / (1 − r), P(m = 0) = r, P(m = 1) = 1 − r;  dx = dy m / (1 − r)."""
    mask = (generator.random(x.shape, np.float32) >= rate).astype(x.dtype) / (1 - rate)
    return x * mask, lambda dy: (dy * mask, {})


def softmax_cross_entropy(logits: Array, labels: Array) -> tuple[float, Array]:
    """Return the mean cross-entropy of the softmax of the logits, and its gradient.

    p = softmax(z),  L = −1/N Σ_n log p_{n, label_n};  dz = (p − onehot(label)) / N

    Args:
        logits: z, `[N, K]`. Their maximum is subtracted, so that no exponential overflows.
        labels: class indices, `[N]`.

    Returns:
        The loss in nats, and dz `[N, K]`.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    onehot = np.eye(logits.shape[1], dtype=logits.dtype)[labels]
    return float(-(log_p * onehot).sum() / len(labels)), (np.exp(log_p) - onehot) / len(labels)
