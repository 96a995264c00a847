"""The convolution by oneDNN where XLA has it, and what replaces it elsewhere."""

import platform

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from research.ops.conv import chunks, conv2d, onednn, onednn_call
from tests.ops.conv.reference import conv_reference
from tests.ops.sampling import quick_jit

CASES = {
    "chunks of images": {"shape": (5, 5, 8, 2), "features": 6, "kernel_size": (3, 3)},
    "strides": {"shape": (2, 9, 10, 5), "features": 12, "kernel_size": (5, 4), "strides": (2, 3)},
    "pixels that no window sees": {"shape": (2, 7, 8, 4), "features": 3, "kernel_size": (2, 1), "strides": 3},
    "dilation": {"shape": (2, 8, 9, 8), "features": 3, "kernel_size": (3, 2), "dilation": (2, 3)},
    "dilation and strides": {
        "shape": (2, 8, 9, 2),
        "features": 3,
        "kernel_size": (2, 2),
        "dilation": 2,
        "strides": 2,
    },
    "kernel above the image": {"shape": (3, 2, 1, 17), "features": 18, "kernel_size": (3, 3)},
    "wide border": {"shape": (2, 3, 4, 4), "features": 5, "kernel_size": (2, 2), "padding": ((3, 0), (0, 4))},
    "few features": {"shape": (2, 5, 7, 3), "features": 40, "kernel_size": (3, 3)},
    "groups": {"shape": (5, 6, 7, 8), "features": 12, "kernel_size": (3, 3), "groups": 4, "strides": 2},
    "depthwise": {"shape": (2, 6, 7, 6), "features": 12, "kernel_size": (3, 3), "groups": 6},
}


def random_arrays(case):
    """Return images and a kernel in float64, and the options of the convolution."""
    options = {"strides": 1, "padding": "SAME", "dilation": 1, "groups": 1, **case}
    shape, size, features = (options.pop(key) for key in ("shape", "kernel_size", "features"))
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((*size, shape[-1] // options["groups"], features))
    return rng.standard_normal(shape), kernel, options


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_against_numpy(case, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 1)  # a loop over single images
    monkeypatch.setattr(onednn, "CHUNK_BYTES", 1)
    onednn._make_conv.cache_clear()
    x, kernel, options = random_arrays(case)
    more = options | {"padding_mode": "zeros"}
    cotangent = np.random.default_rng(1).standard_normal(conv_reference(x, kernel, **more)[0].shape)
    expected = conv_reference(x, kernel, cotangent=cotangent, **more)

    @quick_jit
    def computed(x, kernel, cotangent):
        y, pullback = jax.vjp(lambda x, k: conv2d(x, k, algorithm="onednn", **options), x, kernel)
        return y, *pullback(cotangent)

    results = computed(*map(jnp.float32, (x, kernel, cotangent)))
    for value, reference in zip(results, expected, strict=True):
        np.testing.assert_allclose(value, reference, rtol=1e-5, atol=1e-5 * np.abs(reference).max())


def loss(kernel, x, algorithm):
    return jnp.sin(conv2d(x, kernel, algorithm=algorithm)).sum()


def test_the_same_in_a_loop_on_two_devices():
    rng = np.random.default_rng(0)
    x, kernel = (jnp.float32(rng.standard_normal(shape)) for shape in ((4, 6, 6, 4), (3, 3, 4, 4)))

    def descend(kernel, x, algorithm):
        kernel = lax.pcast(kernel, "data", to="varying")

        def step(kernel, _):
            return kernel - 1e-2 * jax.grad(loss)(kernel, x, algorithm), None

        kernel = lax.psum(lax.scan(step, kernel, length=3)[0], "data")
        return kernel, conv2d(x, kernel, algorithm=algorithm)

    by = {
        algorithm: quick_jit(
            jax.shard_map(
                lambda kernel, x, algorithm=algorithm: descend(kernel, x, algorithm),
                mesh=jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,)),
                in_specs=(P(), P("data")),
                out_specs=(P(), P("data")),
            )
        )(kernel, x)
        for algorithm in ("onednn", "lax")
    }
    for value, expected in zip(by["onednn"], by["lax"], strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-4)


def test_without_onednn_it_is_lax_vjp(monkeypatch):
    monkeypatch.setattr(onednn, "has_onednn", lambda: False)
    x, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 2))
    programs = [
        str(jax.make_jaxpr(jax.grad(loss), static_argnums=2)(kernel, x, algorithm))
        for algorithm in ("onednn", "lax_vjp")
    ]
    assert programs[0] == programs[1]
    assert onednn_call.TARGET not in programs[0]


@pytest.mark.parametrize(
    ("owner", "name", "value"),
    [
        (jax, "default_backend", lambda: "gpu"),
        (platform, "machine", lambda: "arm64"),
        (jax, "__version_info__", (99, 0, 0)),
        (onednn_call, "TARGET", "__onednn$unknown"),
    ],
)
def test_where_there_is_no_onednn(owner, name, value, monkeypatch):
    monkeypatch.setattr(owner, name, value)
    assert not onednn_call.has_onednn.__wrapped__()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="XLA contains oneDNN on x86 only")
def test_it_calls_onednn():
    assert onednn_call.has_onednn()
    program = jax.make_jaxpr(jax.grad(loss), static_argnums=2)(
        jnp.ones((3, 3, 4, 4)), jnp.ones((2, 5, 5, 4)), "onednn"
    )
    assert onednn_call.TARGET in str(program)
    assert "conv_general_dilated" not in str(program)
