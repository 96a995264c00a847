"""The forms in which XLA on the CPU has a fast kernel, in float32, which is the only dtype that has one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.ops.conv import chunks, conv2d, fast, lax_vjp
from tests.ops.conv.reference import conv_reference
from tests.ops.sampling import quick_jit

CASES = {
    "three pixels as one": {"shape": (3, 5, 8, 2), "features": 6, "kernel_size": (3, 3)},
    "two pixels as one, strides": {
        "shape": (2, 9, 10, 5),
        "features": 12,
        "kernel_size": (5, 4),
        "strides": (2, 3),
    },
    "wide": {"shape": (2, 5, 7, 3), "features": 17, "kernel_size": (3, 2), "strides": 2, "padding": 1},
    "dilation": {"shape": (2, 8, 9, 18), "features": 3, "kernel_size": (3, 2), "dilation": (2, 3)},
    "strides beyond the kernel": {"shape": (2, 7, 8, 4), "features": 17, "kernel_size": (2, 1), "strides": 3},
    "valid": {"shape": (3, 6, 7, 17), "features": 4, "kernel_size": (3, 4), "padding": "VALID"},
    "kernel above the image": {"shape": (3, 2, 1, 17), "features": 18, "kernel_size": (3, 3)},
    "wide border": {"shape": (2, 3, 4, 4), "features": 5, "kernel_size": (2, 2), "padding": ((3, 0), (0, 4))},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_fast_forms_against_numpy(case, monkeypatch):
    monkeypatch.setattr(lax_vjp, "has_fast_kernel", lambda: True)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1)  # a loop over single images
    lax_vjp._make_conv.cache_clear()
    options = {"strides": 1, "padding": "SAME", "dilation": 1, **case}
    shape, size = options.pop("shape"), options.pop("kernel_size")
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal(shape), rng.standard_normal((*size, shape[-1], options.pop("features")))
    more = {"padding_mode": "zeros", "groups": 1}
    cotangent = rng.standard_normal(conv_reference(x, kernel, **options, **more)[0].shape)
    expected = conv_reference(x, kernel, cotangent=cotangent, **options, **more)

    @quick_jit
    def computed(x, kernel, cotangent):
        y, pullback = jax.vjp(lambda x, k: conv2d(x, k, algorithm="lax_vjp", **options), x, kernel)
        return y, *pullback(cotangent)

    results = computed(*map(jnp.float32, (x, kernel, cotangent)))
    for value, reference in zip(results, expected, strict=True):
        np.testing.assert_allclose(value, reference, rtol=1e-5, atol=1e-5 * np.abs(reference).max())


def test_there_is_no_fast_kernel_elsewhere(monkeypatch):
    assert isinstance(fast.has_fast_kernel(), bool)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not fast.has_fast_kernel.__wrapped__()
