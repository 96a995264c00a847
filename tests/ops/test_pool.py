import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from research.ops.adaptive_pool import (
    adaptive_average_pool,
    adaptive_max_pool,
    global_average_pool,
    global_max_pool,
)
from research.ops.pool import average_pool, max_pool
from tests.ops.conv.reference import pads_of
from tests.ops.sampling import every_pair, name, product, quick_jit


def fits(case):
    """Each window holds a pixel of the image."""
    return case["padding"] in ("SAME", "VALID") or min(np.broadcast_to(case["window"], 2)) > 1


OPTIONS = {
    "size": [(7, 8), (6, 6), (5, 9)],
    "window": [1, 2, 3, (2, 3), (3, 1)],
    "strides": [None, 1, 2, (3, 2)],
    "padding": ["VALID", "SAME", 1, ((1, 0), (0, 1))],
}
PAIRS, ALL = every_pair(fits, **OPTIONS), product(fits, **OPTIONS)


def draw(*shape):
    """Few values, so that most windows have a tie."""
    return np.random.default_rng(0).integers(0, 4, shape).astype(np.float64)


def reduce_bins(x, rows, columns, cotangents):
    """Maximum and mean of ``x`` over each pair of lists of rows and columns, and the gradients of x."""
    outputs = np.zeros((2, len(x), len(rows), len(columns), x.shape[3]))
    gradients = np.zeros((2, *x.shape))
    for n, i, j, c in np.ndindex(outputs.shape[1:]):
        pixels = [(n, a, b, c) for a in rows[i] for b in columns[j]]
        values = [x[pixel] for pixel in pixels]
        outputs[:, n, i, j, c] = max(values), sum(values) / len(values)
        gradients[0][pixels[values.index(max(values))]] += cotangents[0][n, i, j, c]
        for pixel in pixels:
            gradients[1][pixel] += cotangents[1][n, i, j, c] / len(pixels)
    return outputs, gradients


def windows(size, window, stride, pad):
    starts = range(-pad[0], size + pad[1] - window + 1, stride)
    return [[a for a in range(start, start + window) if 0 <= a < size] for start in starts]


def bins(size, num):
    return [range(int(np.floor(i * size / num)), int(np.ceil((i + 1) * size / num))) for i in range(num)]


def check_against_numpy(maximum, average, x, rows, columns):
    rng = np.random.default_rng(1)
    cotangents = rng.standard_normal((2, len(x), len(rows), len(columns), x.shape[3]))
    outputs, gradients = reduce_bins(x, rows, columns, cotangents)

    @quick_jit
    def computed(x, cotangents):
        pulled = [jax.vjp(pool, x) for pool in (maximum, average)]
        return [y for y, _ in pulled], [vjp(ct)[0] for (_, vjp), ct in zip(pulled, cotangents, strict=True)]

    with jax.enable_x64(True):
        values = computed(jnp.asarray(x), jnp.asarray(cotangents))
    for what, value, expected in zip(("y", "dx"), values, (outputs, gradients), strict=True):
        np.testing.assert_allclose(value[0], expected[0], rtol=1e-12, atol=1e-14, err_msg=f"max {what}")
        np.testing.assert_allclose(value[1], expected[1], rtol=1e-12, atol=1e-14, err_msg=f"average {what}")


def check_windows(size, window, strides, padding):
    options = {"window": window, "strides": strides, "padding": padding}
    window = np.broadcast_to(window, 2).tolist()
    strides = window if strides is None else np.broadcast_to(strides, 2).tolist()
    pads = pads_of(padding, size, window, strides, (1, 1))
    rows, columns = map(windows, size, window, strides, pads)
    check_against_numpy(
        lambda x: max_pool(x, **options),
        lambda x: average_pool(x, **options),
        draw(2, *size, 3),
        rows,
        columns,
    )


@pytest.mark.parametrize("case", PAIRS, ids=name)
def test_every_pair_of_options_against_numpy(case):
    check_windows(**case)


@pytest.mark.slow
@pytest.mark.parametrize("case", ALL, ids=name)
def test_all_options_against_numpy(case):
    check_windows(**case)


@pytest.mark.parametrize(
    ("size", "output_size"),
    [((6, 6), 2), ((7, 5), (3, 2)), ((5, 5), (7, 3)), ((8, 3), (8, 3)), ((1, 1), (2, 1)), ((9, 10), 1)],
)
def test_adaptive_pools_use_the_bins_of_torch(size, output_size):
    rows, columns = map(bins, size, np.broadcast_to(output_size, 2).tolist())
    check_against_numpy(
        lambda x: adaptive_max_pool(x, output_size),
        lambda x: adaptive_average_pool(x, output_size),
        draw(2, *size, 3),
        rows,
        columns,
    )


def test_global_pools_are_one_window():
    x = draw(2, 5, 4, 3)
    check_against_numpy(
        lambda x: jnp.expand_dims(global_max_pool(x), (1, 2)),
        lambda x: jnp.expand_dims(global_average_pool(x), (1, 2)),
        x,
        [range(5)],
        [range(4)],
    )
    assert global_max_pool(jnp.asarray(x)).shape == (2, 3)


def test_worked_example():
    x = jnp.array([[1.0, 3, 2, 4], [5, 1, 6, 2], [7, 9, 3, 8], [2, 4, 1, 5]]).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(max_pool(x)[0, :, :, 0], [[5, 6], [9, 8]])


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.sampled_from(["SAME", "VALID"]),
)
@settings(deadline=None, derandomize=True)
def test_shape_is_that_of_reduce_window(size, window, strides, padding):
    x = jax.ShapeDtypeStruct((1, *size, 1), jnp.float32)
    expected = jax.eval_shape(
        lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, *window, 1), (1, *strides, 1), padding), x
    ).shape
    for pool in (max_pool, average_pool):
        if 0 in expected:
            with pytest.raises(ValueError, match="window spans"):
                jax.eval_shape(lambda x, pool=pool: pool(x, window, strides, padding), x)
        else:
            assert jax.eval_shape(lambda x, pool=pool: pool(x, window, strides, padding), x).shape == expected


@pytest.mark.parametrize(("window", "strides", "padding"), [(2, 2, "VALID"), (3, 2, "SAME")])
def test_the_first_winner_takes_the_gradient_inside_a_scan(window, strides, padding):
    x = jnp.zeros((1, 4, 4, 1))

    def step(x, _):
        gradient = jax.grad(lambda x: max_pool(x, window, strides, padding).sum())(x)
        return x + 0 * gradient, gradient

    gradients = quick_jit(lambda x: lax.scan(step, x, None, length=3)[1])(x)
    expected = np.zeros((4, 4))
    expected[::2, ::2] = 1
    np.testing.assert_array_equal(gradients[:, 0, :, :, 0], np.stack([expected] * 3))


@pytest.mark.parametrize(("window", "strides"), [(2, 2), (2, 1)])
@pytest.mark.parametrize(
    ("pixels", "y", "winner"),
    [
        ([[-np.inf, -np.inf], [-np.inf, -np.inf]], -np.inf, (0, 0)),
        ([[1, np.inf], [np.inf, 0]], np.inf, (0, 1)),
        ([[1, 2], [np.nan, 3]], np.nan, (1, 0)),
    ],
)
def test_infinities_and_nan(pixels, y, winner, window, strides):
    x = jnp.array(pixels, jnp.float32).reshape(1, 2, 2, 1)
    value, gradient = quick_jit(jax.value_and_grad(lambda x: max_pool(x, window, strides).sum()))(x)
    np.testing.assert_array_equal(value, y)
    expected = np.zeros((2, 2))
    expected[winner] = 1
    np.testing.assert_array_equal(gradient[0, :, :, 0], expected)


@pytest.mark.parametrize("pool", [max_pool, lambda x: max_pool(x, 3, 1, "SAME"), global_max_pool])
def test_second_derivatives_know_one_winner_too(pool):
    """Forward over reverse, so the forward mode as well."""

    @quick_jit
    def computed(x):
        return jax.hessian(lambda x: jnp.square(pool(x)).sum() / 2)(x), jax.grad(lambda x: pool(x).sum())(x)

    hessian, gradient = computed(jnp.ones((1, 4, 4, 1)))
    np.testing.assert_array_equal(hessian.reshape(16, 16), np.diag(gradient.ravel()))


@pytest.mark.parametrize(
    "pool",
    [
        max_pool,
        average_pool,
        lambda x: max_pool(x, 3, 2, 1),
        lambda x: average_pool(x, 3, 2, 1),
        global_max_pool,
        global_average_pool,
        lambda x: adaptive_max_pool(x, (3, 1)),
        lambda x: adaptive_average_pool(x, (3, 1)),
    ],
)
def test_bfloat16_stays_and_vmap_is_a_loop(pool):
    x = jnp.asarray(draw(3, 2, 4, 5, 2), jnp.bfloat16)

    @quick_jit
    def computed(x):
        def gradient(x):
            return jax.grad(lambda x: pool(x).astype(jnp.float32).sum())(x)

        return (jax.vmap(pool)(x), jax.vmap(gradient)(x)), ([pool(v) for v in x], [gradient(v) for v in x])

    for batched, looped in zip(*computed(x), strict=True):
        assert batched.dtype == jnp.bfloat16
        np.testing.assert_array_equal(np.float32(batched), np.float32(jnp.stack(looped)))


def test_gradient_inside_shard_map():
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))
    x = jnp.asarray(draw(2, 4, 4, 3), jnp.float32)

    def gradient(x):
        return jax.grad(lambda x: jnp.square(max_pool(x)).sum())(x)

    spec = PartitionSpec("data")
    sharded = jax.jit(jax.shard_map(gradient, mesh=mesh, in_specs=spec, out_specs=spec))(x)
    np.testing.assert_array_equal(sharded, gradient(x))


@pytest.mark.parametrize("pool", [max_pool, average_pool])
def test_errors_say_the_numbers(pool):
    x = jnp.ones((1, 2, 4, 1))
    with pytest.raises(ValueError, match="window spans 3x3 pixels, the padded image has 2x4"):
        pool(x, 3)
    with pytest.raises(
        ValueError, match=r"padding \(\(1, 1\), \(1, 1\)\) leaves windows of 2x1 with no pixel"
    ):
        pool(x, (2, 1), padding=1)
    with pytest.raises(ValueError, match="window must be a positive int or a pair of them, got 0"):
        pool(x, 0)
    with pytest.raises(ValueError, match="strides must be a positive int"):
        pool(x, 2, 0)
    with pytest.raises(ValueError, match=r"padding must be .* got 'FULL'"):
        pool(x, padding="FULL")


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    "pool", [max_pool, average_pool, global_max_pool, global_average_pool, lambda x: adaptive_max_pool(x, 1)]
)
def test_other_ranks_are_rejected(pool):
    with pytest.raises(ValueError, match=r"x must be \[N, H, W, C\], got shape \(4, 4\)"):
        pool(jnp.ones((4, 4)))


def test_adaptive_output_size_is_positive():
    with pytest.raises(ValueError, match=r"output_size must be .* got \(0, 1\)"):
        adaptive_average_pool(jnp.ones((1, 4, 4, 1)), (0, 1))
