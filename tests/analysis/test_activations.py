import jax.numpy as jnp
import pytest

from research.analysis import activation_statistics
from research.layers import Activation, Residual, Sequential


def statistics(net, x):
    return activation_statistics(net, {}, {}, jnp.asarray(x))


def test_numbers():
    found = statistics(Sequential((("relu", Activation("relu")),)), [[-1.0, -2.0, 0.0, 4.0]])["relu"]
    shares = {"zeros": 0.75, "saturated": 0.75, "dead": 0.75}
    assert found == {"mean": 1.0, "std": pytest.approx(3**0.5), **shares}


def test_a_unit_is_dead_if_no_image_can_train_it():
    net = Sequential((("relu", Activation("relu")),))
    found = statistics(net, [[-1.0, -2.0, 3.0, -4.0], [5.0, -2.0, 3.0, -4.0]])["relu"]
    assert (found["saturated"], found["dead"]) == (0.625, 0.5)


def test_a_unit_of_images_is_a_channel():
    images = jnp.array([[[[-1.0, -1.0], [2.0, -1.0]]], [[[-1.0, -1.0], [-1.0, -1.0]]]])
    found = statistics(Sequential((("relu", Activation("relu")),)), images)["relu"]
    assert (found["saturated"], found["dead"]) == (7 / 8, 1 / 2)


@pytest.mark.parametrize(
    ("name", "saturated"),
    [("tanh", 0.5), ("sigmoid", 0.5), ("elu", 0.25), ("softplus", 0.25), ("leaky_relu", 0.0)],
)
def test_saturated_where_the_slope_is_flat(name, saturated):
    found = statistics(Sequential((("act", Activation(name)),)), [[-8.0, -1.0, 1.0, 8.0]])
    assert found["act"]["saturated"] == saturated


def test_slope_is_taken_at_the_input_of_the_layer_itself_in_a_shortcut():
    net = Sequential((("block", Residual(Activation("tanh"), Activation("relu"))),))
    found = statistics(net, [[-8.0, -8.0, 8.0, 8.0]])
    assert list(found) == ["block/body", "block/shortcut", "block"]
    assert found["block/body"]["saturated"] == 1.0
    assert found["block/shortcut"]["saturated"] == 0.5
    assert "saturated" not in found["block"]
