import jax
import jax.numpy as jnp
import pytest

from research.layers import Dense, Flatten


def test_is_a_product_plus_bias():
    params = {"kernel": jnp.array([[1.0, 2.0], [3.0, 4.0]]), "bias": jnp.array([10.0, 20.0])}
    y, _ = Dense(2).apply(params, {}, jnp.array([[1.0, 1.0]]), train=False)
    assert y.tolist() == [[14.0, 26.0]]


@pytest.mark.usefixtures("unchecked_shapes")
def test_unflattened_input():
    with pytest.raises(ValueError, match=r"x has shape \[1, 8, 8, 3\]: put Flatten or GlobalAveragePool"):
        Dense(2).init(jax.random.key(0), (1, 8, 8, 3))
    params = {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}
    with pytest.raises(ValueError, match=r"x has shape \[1, 8, 8, 3\]: put Flatten or GlobalAveragePool"):
        Dense(2).apply(params, {}, jnp.ones((1, 8, 8, 3)), train=False)


def test_other_width_than_at_init():
    params = {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}
    with pytest.raises(ValueError, match="kernel has 3 inputs, x has 4"):
        Dense(2).apply(params, {}, jnp.ones((1, 4)), train=False)


def test_impossible_layers():
    with pytest.raises(ValueError, match="features must be at least 1, got 0"):
        Dense(0)
    with pytest.raises(ValueError, match="unknown initializer 'magic'"):
        Dense(2, initializer="magic")


def test_flatten_keeps_the_order_of_rows_columns_channels():
    x = jnp.arange(24.0).reshape(2, 2, 3, 2)
    y, _ = Flatten().apply({}, {}, x, train=False)
    assert y.tolist() == [list(range(12)), list(range(12, 24))]
