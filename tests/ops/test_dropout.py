from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.ops.dropout import dropout, spatial_dropout
from tests.ops.sampling import quick_jit

both = pytest.mark.parametrize("drop", [dropout, spatial_dropout])


@partial(quick_jit, static_argnums=(0, 3))
def run(drop, keys, x, rate):
    return drop(keys, x, rate)


def keys(num):
    return jax.random.split(jax.random.key(7), num)


@both
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_survivors_are_scaled_up(drop, dtype):
    with jax.enable_x64(dtype == "float64"):
        x = jnp.asarray(np.random.default_rng(0).standard_normal((4, 5, 5, 8)), dtype)
        y, gradient = quick_jit(
            lambda x: (drop(keys(4), x, 0.25), jax.grad(lambda x: drop(keys(4), x, 0.25).sum())(x))
        )(x)
        assert y.dtype == gradient.dtype == x.dtype
        kept = y != 0
        assert 0.4 < kept.mean() < 0.95
        tolerance = 1e-2 if dtype == "bfloat16" else 1e-6
        np.testing.assert_allclose(np.float64(y), np.where(kept, np.float64(x) / 0.75, 0), rtol=tolerance)
        np.testing.assert_allclose(np.float64(gradient), np.where(kept, 1 / 0.75, 0), rtol=tolerance)


@both
def test_rate_is_the_share_dropped(drop):
    dropped = run(drop, keys(200), jnp.ones((200, 2, 2, 50)), 0.3) == 0
    # five standard deviations of a mean of the 10,000 draws that spatial dropout makes here
    assert abs(float(dropped.mean()) - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 10_000)


def test_spatial_dropout_drops_whole_maps_of_one_example():
    kept = run(spatial_dropout, keys(6), jnp.ones((6, 3, 3, 20)), 0.5) != 0
    assert (kept == kept[:, :1, :1]).all()
    assert len({maps.tobytes() for maps in np.asarray(kept[:, 0, 0])}) == 6


@both
def test_a_mask_depends_on_the_key_of_its_example_only(drop):
    x = jnp.ones((6, 3, 3, 20))
    whole = run(drop, keys(6), x, 0.5)
    np.testing.assert_array_equal(run(drop, keys(6)[2:5], x[2:5], 0.5), whole[2:5])
    np.testing.assert_array_equal(run(drop, keys(6)[::-1], x, 0.5), whole[::-1])


@both
def test_rows_of_features_work_too(drop):
    y = run(drop, keys(3), jnp.ones((3, 20)), 0.5)
    assert set(np.unique(y)) == {0, 2}


@both
def test_rate_zero_changes_nothing(drop):
    x = jnp.arange(8.0).reshape(2, 1, 1, 4)
    np.testing.assert_array_equal(drop(keys(2), x, 0.0), x)


@both
@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_rate_out_of_range_is_rejected(drop, rate):
    with pytest.raises(ValueError, match=rf"rate must be in \[0, 1\), got {rate}"):
        drop(keys(2), jnp.ones((2, 1, 1, 1)), rate)


@pytest.mark.usefixtures("unchecked_shapes")
@both
def test_keys_must_be_typed_and_one_per_example(drop):
    x = jnp.ones((2, 1, 1, 1))
    with pytest.raises(ValueError, match=r"keys has shape \(3,\), x has 2 examples"):
        drop(keys(3), x, 0.5)
    with pytest.raises(ValueError, match=r"keys has shape \(\), x has 2 examples"):
        drop(jax.random.key(0), x, 0.5)
    with pytest.raises(TypeError, match=r"keys must be typed keys from jax.random.key, got uint32\[2\]"):
        drop(jax.random.PRNGKey(0), x, 0.5)
