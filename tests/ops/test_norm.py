import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from research.ops.batch_norm import normalize_batch
from research.ops.norm import batch_norm, batch_statistics, group_norm, layer_norm
from tests.ops.sampling import quick_jit

IMAGES, ROWS = (4, 3, 5, 6), (7, 6)


def normalize_reference(x, scale, bias, cotangent, groups, epsilon):
    """Output and gradients of x, scale and bias; ``groups(x)`` makes each normalised set a row."""
    forward, back = groups
    rows = forward(x)
    deviation = np.sqrt(rows.var(1, keepdims=True) + epsilon)
    normal = (rows - rows.mean(1, keepdims=True)) / deviation
    z, axes = back(normal), tuple(range(x.ndim - 1))
    dz = forward(cotangent * scale)
    dx = (dz - dz.mean(1, keepdims=True) - normal * (dz * normal).mean(1, keepdims=True)) / deviation
    return z * scale + bias, back(dx), (cotangent * z).sum(axes), cotangent.sum(axes)


def channel_rows(shape):
    return lambda x: x.reshape(-1, shape[-1]).T, lambda rows: rows.T.reshape(shape)


def pixel_rows(shape):
    return lambda x: x.reshape(-1, shape[-1]), lambda rows: rows.reshape(shape)


def group_rows(shape, num_groups):
    n, *pixels, c = shape
    split = (n, int(np.prod(pixels)), num_groups, c // num_groups)
    return (
        lambda x: x.reshape(split).transpose(0, 2, 1, 3).reshape(n * num_groups, -1),
        lambda rows: rows.reshape(n, num_groups, split[1], -1).transpose(0, 2, 1, 3).reshape(shape),
    )


def normalize_by_statistics(x, scale, bias):
    mean, variance = batch_statistics(x)
    return batch_norm(x, mean, variance, scale, bias, 1e-3)


OPS = {
    "batch_norm": (normalize_by_statistics, channel_rows),
    "normalize_batch": (lambda x, s, b: normalize_batch(x, s, b, 1e-3)[0], channel_rows),
    "layer_norm": (lambda x, s, b: layer_norm(x, s, b, epsilon=1e-3), pixel_rows),
    "group_norm 1": (
        lambda x, s, b: group_norm(x, s, b, num_groups=1, epsilon=1e-3),
        lambda s: group_rows(s, 1),
    ),
    "group_norm 3": (
        lambda x, s, b: group_norm(x, s, b, num_groups=3, epsilon=1e-3),
        lambda s: group_rows(s, 3),
    ),
}


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize(
    ("shape", "dtype", "tolerance"),
    [
        (IMAGES, "float64", 1e-11),
        (ROWS, "float64", 1e-11),
        (IMAGES, "float32", 1e-4),
        (IMAGES, "bfloat16", 5e-2),
    ],
)
def test_value_and_gradients_against_numpy(name, shape, dtype, tolerance):
    rng = np.random.default_rng(0)
    op, rows = OPS[name]
    with jax.enable_x64(dtype == "float64"):
        x, cotangent = (jnp.asarray(rng.standard_normal(shape), dtype) for _ in range(2))
        scale, bias = (jnp.asarray(rng.standard_normal(6), dtype) for _ in range(2))

        @quick_jit
        def computed(x, scale, bias, cotangent):
            y, pullback = jax.vjp(op, x, scale, bias)
            return y, *pullback(cotangent)

        results = computed(x, scale, bias, cotangent)
    exact = [np.asarray(v, np.float64) for v in (x, scale, bias, cotangent)]
    expected = normalize_reference(exact[0], exact[1], exact[2], exact[3], rows(shape), 1e-3)
    for what, value, reference in zip(("y", "dx", "dscale", "dbias"), results, expected, strict=True):
        assert value.dtype == dtype
        np.testing.assert_allclose(
            np.float64(value),
            reference,
            rtol=tolerance,
            atol=tolerance * np.abs(reference).max(),
            err_msg=what,
        )


@pytest.mark.parametrize(
    "statistics", [batch_statistics, lambda x: normalize_batch(x, jnp.ones(3), jnp.zeros(3))[1:]]
)
def test_statistics_hold_where_the_mean_is_large(statistics):
    x = np.float32(1e4 + np.random.default_rng(0).standard_normal((64, 4, 4, 3)))
    mean, variance = statistics(jnp.asarray(x))
    np.testing.assert_allclose(mean, np.float64(x).mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(variance, np.float64(x).var((0, 1, 2)), rtol=1e-3)


def test_statistics_of_bfloat16_are_float32():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((512, 3)), jnp.bfloat16)
    mean, variance = batch_statistics(x)
    assert mean.dtype == variance.dtype == jnp.float32
    np.testing.assert_allclose(mean, np.float64(x).mean(0), atol=1e-6)
    np.testing.assert_allclose(variance, np.float64(x).var(0), rtol=1e-5)


def test_float32_statistics_and_parameters_normalise_bfloat16():
    x = jnp.ones((2, 2, 2, 3), jnp.bfloat16)
    mean, variance, scale, bias = (jnp.full(3, value) for value in (1.0, 4.0, 2.0, 0.5))
    y = batch_norm(x, mean, variance, scale, bias)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.float32(y), 0.5)


def by_statistics(x, scale, bias, axis_name):
    mean, variance = batch_statistics(x, axis_name=axis_name)
    return batch_norm(x, mean, variance, scale, bias), mean, variance


def at_once(x, scale, bias, axis_name):
    if axis_name:
        scale, bias = lax.pcast((scale, bias), axis_name, to="varying")
    return normalize_batch(x, scale, bias, 1e-5, axis_name)


@pytest.mark.parametrize("normalize", [by_statistics, at_once])
def test_statistics_across_devices_are_those_of_the_whole_batch(normalize):
    x = jnp.asarray(np.random.default_rng(0).standard_normal((8, 2, 2, 3)), jnp.float32)
    spec, mesh = PartitionSpec("data"), jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))

    def loss(x, axis_name):
        y, mean, variance = normalize(x, jnp.ones(3), jnp.zeros(3), axis_name)
        return jnp.sum(y * jnp.sin(x)), (mean, variance)

    def sharded(x):
        return lax.psum(loss(x, "data")[0], "data"), loss(x, "data")[1]

    run = jax.shard_map(sharded, mesh=mesh, in_specs=spec, out_specs=PartitionSpec())
    (total, statistics), gradient = quick_jit(jax.value_and_grad(run, has_aux=True))(x)
    whole = quick_jit(jax.value_and_grad(loss, has_aux=True), static_argnums=1)
    (expected, expected_statistics), expected_gradient = whole(x, None)
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    np.testing.assert_allclose(statistics, expected_statistics, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-5)


def test_vmap_is_a_loop():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, *IMAGES)), jnp.float32)
    scale, bias = jnp.arange(6.0), jnp.ones(6)

    @quick_jit
    def computed(x, scale, bias):
        return [
            (jax.vmap(op, (0, None, None))(x, scale, bias), jnp.stack([op(v, scale, bias) for v in x]))
            for op, _ in OPS.values()
        ]

    for batched, looped in computed(x, scale, bias):
        np.testing.assert_allclose(batched, looped, atol=1e-5)


@pytest.mark.usefixtures("unchecked_shapes")
def test_errors_say_the_numbers():
    x, c, d = jnp.ones((2, 4, 4, 6)), jnp.ones(6), jnp.ones(5)
    with pytest.raises(ValueError, match=r"scale has shape \(5,\), x has 6 channels"):
        layer_norm(x, d, c)
    with pytest.raises(ValueError, match=r"bias has shape \(5,\), x has 6 channels"):
        batch_norm(x, c, c, c, d)
    with pytest.raises(ValueError, match=r"variance has shape \(5,\), x has 6 channels"):
        batch_norm(x, c, d, c, c)
    with pytest.raises(ValueError, match="num_groups=4 must divide the 6 channels of x"):
        group_norm(x, c, c, num_groups=4)
    with pytest.raises(ValueError, match="num_groups=0 must divide"):
        group_norm(x, c, c, num_groups=0)


@pytest.mark.parametrize("value", [100.0, 1e4])
def test_a_constant_channel_is_normalised_to_zero(value):
    """The sum of many equal numbers is rounded, and the rounding is no deviation."""
    x = jnp.full((32, 32, 32, 3), 1.1234 * value, jnp.float32)
    mean, variance = batch_statistics(x)
    np.testing.assert_allclose(mean, x[0, 0, 0], rtol=1e-6)
    assert float(jnp.abs(batch_norm(x, mean, variance, jnp.ones(3), jnp.zeros(3))).max()) < 0.5


@pytest.mark.parametrize("offset", [1e4, 1e6])
def test_statistics_of_images_with_a_large_mean(offset):
    x = (np.random.default_rng(0).normal(size=(64, 16, 16, 3)) + offset).astype(np.float32)
    mean, variance = batch_statistics(jnp.asarray(x))
    np.testing.assert_allclose(mean, x.astype(np.float64).mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(variance, x.astype(np.float64).var((0, 1, 2)), rtol=1e-3)
