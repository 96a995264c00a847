import jax.numpy as jnp
import pytest

from research.layers import AveragePool, Conv2D, Dense, MaxPool
from research.models.assemble import SkippedPool, assemble


def test_pools_that_do_not_fit_are_left_out_and_the_rest_stays():
    layers = [("a", MaxPool(2)), ("b", AveragePool((1, 3))), ("c", Conv2D(4)), ("d", MaxPool((2, 1)))]
    net = assemble(layers, (3, 8, 1))
    assert net.layers == (
        ("a", MaxPool(2)),
        ("b", AveragePool((1, 3))),
        ("c", Conv2D(4)),
        ("d", SkippedPool(MaxPool((2, 1)))),
    )


def test_left_out_is_the_identity():
    x = jnp.ones((1, 1, 1, 2))
    y, state = SkippedPool(MaxPool(2)).apply({}, {}, x, train=True)
    assert y is x
    assert state == {}


def test_other_layers_that_do_not_fit_are_errors_with_their_name():
    with pytest.raises(ValueError, match=r"conv: window spans 5x5 pixels, the padded image has 3x3"):
        assemble([("conv", Conv2D(4, 5, padding="VALID"))], (3, 3, 1))
    with pytest.raises(ValueError, match=r"dense: .* put Flatten"):
        assemble([("dense", Dense(4))], (3, 3, 1))


@pytest.mark.parametrize("image_shape", [(28, 28), (0, 28, 1)])
def test_image_shape(image_shape):
    with pytest.raises(ValueError, match=r"image_shape must be \(height, width, channels\), all positive"):
        assemble([], image_shape)
