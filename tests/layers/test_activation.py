import pytest

from research.layers import Activation
from research.ops.activation import ACTIVATIONS


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_applies_the_named_function(name, draw):
    x = draw((2, 3, 3, 4))
    y, state = Activation(name).apply({}, {}, x, train=True)
    assert (y == ACTIVATIONS[name](x)).all()
    assert state == {}


def test_unknown_name():
    with pytest.raises(ValueError, match="unknown activation 'magic'; allowed: elu, gelu, leaky_relu, relu"):
        Activation("magic")
