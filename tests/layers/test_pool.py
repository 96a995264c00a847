import jax
import jax.numpy as jnp
import pytest

from research.layers import AdaptivePool, AveragePool, GlobalAveragePool, MaxPool


@pytest.mark.parametrize("kind", [MaxPool, AveragePool])
@pytest.mark.parametrize("in_shape", [(1, 1, 1, 3), (1, 1, 8, 3), (1, 8, 1, 3)])
def test_window_larger_than_the_image(kind, in_shape):
    with pytest.raises(ValueError, match="window spans 2x2 pixels, the padded image has"):
        kind(2).init(jax.random.key(0), in_shape)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (MaxPool(2), [[[[6.0], [8.0]], [[14.0], [16.0]]]]),
        (MaxPool((1, 4)), [[[[4.0]], [[8.0]], [[12.0]], [[16.0]]]]),
        (MaxPool(2, 3, "SAME"), [[[[6.0], [8.0]], [[14.0], [16.0]]]]),
        (AveragePool(2), [[[[3.5], [5.5]], [[11.5], [13.5]]]]),
        (GlobalAveragePool(), [[8.5]]),
        (AdaptivePool(1), [[[[8.5]]]]),
        (AdaptivePool((2, 1), "max"), [[[[8.0]], [[16.0]]]]),
    ],
    ids=str,
)
def test_values(layer, expected):
    x = jnp.arange(1.0, 17.0).reshape(1, 4, 4, 1)
    assert layer.apply({}, {}, x, train=False)[0].tolist() == expected


def test_kind_of_adaptive_pool():
    with pytest.raises(ValueError, match="kind must be average or max, got 'median'"):
        AdaptivePool(2, "median")
