import pytest

from research.analysis.walk import INPUT, walk
from research.layers import Activation, Conv2D, Dense, Residual, Sequential

NET = Sequential(
    (
        ("conv", Conv2D(4)),
        ("empty", Sequential(())),
        ("plain", Residual(Sequential((("act", Activation()), ("conv", Conv2D(4)))))),
        ("projected", Residual(Conv2D(6, strides=2), Sequential((("conv", Conv2D(6, 1, 2)),)))),
    )
)


def test_paths_sources_and_shapes():
    image = (2, 8, 8, 4)
    assert [(n.path, n.sources, n.in_shape, n.out_shape) for n in walk(NET, (2, 8, 8, 1))] == [
        ("conv", (INPUT,), (2, 8, 8, 1), image),
        ("plain/body/act", ("conv",), image, image),
        ("plain/body/conv", ("plain/body/act",), image, image),
        ("plain", ("plain/body/conv", "conv"), image, image),
        ("projected/body", ("plain",), image, (2, 4, 4, 6)),
        ("projected/shortcut/conv", ("plain",), image, (2, 4, 4, 6)),
        ("projected", ("projected/body", "projected/shortcut/conv"), image, (2, 4, 4, 6)),
    ]


def test_parameters_stand_at_the_layers_that_have_them():
    sizes = {node.path: sorted(node.params) for node in walk(NET, (2, 8, 8, 1))}
    assert sizes["plain/body/conv"] == ["bias", "kernel"]
    assert sizes["plain"] == sizes["plain/body/act"] == []


def test_a_layer_alone():
    (node,) = walk(Dense(3), (1, 4))
    assert (node.path, node.out_shape) == ("Dense", (1, 3))


def test_what_does_not_fit():
    with pytest.raises(ValueError, match="plain: body gives shape"):
        walk(Sequential((("plain", Residual(Conv2D(4))),)), (1, 8, 8, 1))
