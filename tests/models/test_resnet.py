import pytest

from research.layers import Conv2D, Dropout, Layer, Residual, Sequential, StochasticDepth
from research.layers.base import abstract_init, by_path
from research.models.resnet import simple_resnet


def blocks(**arguments):
    net = simple_resnet((32, 32, 3), 10, **arguments)
    return [layer for _, layer in net.layers if isinstance(layer, Residual)]


def first_convolution(block: Residual) -> Layer:
    assert isinstance(block.body, Sequential)
    return dict(block.body.layers)["conv1"]


def test_only_the_first_block_of_later_stages_strides_and_projects():
    strides = [getattr(first_convolution(block), "strides", None) for block in blocks()]
    assert strides == [1, 1, 2, 1, 2, 1]
    assert [block.shortcut is not None for block in blocks()] == [s == 2 for s in strides]


def test_no_convolution_has_a_bias():
    params, _ = abstract_init(simple_resnet((32, 32, 3), 10), (1, 32, 32, 3))
    paths = list(by_path(params))
    assert not [path for path in paths if "conv" in path and "bias" in path]


def test_numbers_of_stages_and_blocks():
    assert len(blocks(widths=(8, 16), blocks=3)) == 6
    assert first_convolution(blocks(widths=(8, 16), blocks=3)[0]) == Conv2D(8, use_bias=False)


@pytest.mark.parametrize("arguments", [{"blocks": 0}, {"widths": ()}])
def test_nothing_to_build(arguments):
    with pytest.raises(ValueError, match="at least one width and one block are needed, got"):
        blocks(**arguments)


def bodies(**arguments):
    return [dict(block.body.layers) for block in blocks(**arguments) if isinstance(block.body, Sequential)]


def test_stochastic_depth_rises_linearly_to_the_last_block():
    found = [body["depth"] for body in bodies(stochastic_depth=0.3)]
    assert found == [StochasticDepth(0.3 * i / 6) for i in range(1, 7)]
    assert all(list(body)[-1] == "depth" for body in bodies(stochastic_depth=0.3))
    assert not any("depth" in body for body in bodies())


def test_dropout_comes_before_the_second_convolution_of_a_block():
    (body,) = bodies(widths=(8,), blocks=1, dropout=0.1)
    assert list(body) == ["conv1", "norm1", "act1", "drop1", "conv2", "norm2"]
    assert body["drop1"] == Dropout(0.1)


def test_without_a_norm_every_convolution_has_a_bias():
    net = simple_resnet((32, 32, 3), 10, widths=(8, 16, 32), blocks=1, norm="none")
    params, state = abstract_init(net, (1, 32, 32, 3))
    assert state == {}
    paths = list(by_path(params))
    assert not [path for path in paths if "norm" in path]
    assert len([path for path in paths if "conv" in path and "bias" in path]) == 9
