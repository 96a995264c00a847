"""What every convolution algorithm takes and returns."""

from typing import Protocol, runtime_checkable

from jax import Array

from research.ops.padding import Pads, Pair


@runtime_checkable
class ConvAlgorithm(Protocol):
    """A function that convolves images `[N, H, W, C_in]` with a kernel `[kh, kw, C_in // groups, C_out]`.

    It returns `[N, H_out, W_out, C_out]` with the dtype of the images. `conv2d` checks the arguments and
    resolves the padding before it calls the algorithm.
    """

    def __call__(
        self, x: Array, kernel: Array, strides: Pair, pads: Pads, dilation: Pair, groups: int, /
    ) -> Array:
        """Return the output of the convolution."""
        ...
