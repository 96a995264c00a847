import jax
import pytest

from research.layers import Conv2D, Layer, Residual, Sequential
from research.layers.base import abstract_init
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
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(params)]
    assert not [path for path in paths if "conv" in path and "bias" in path]


def test_numbers_of_stages_and_blocks():
    assert len(blocks(widths=(8, 16), blocks=3)) == 6
    assert first_convolution(blocks(widths=(8, 16), blocks=3)[0]) == Conv2D(8, use_bias=False)


@pytest.mark.parametrize("arguments", [{"blocks": 0}, {"widths": ()}])
def test_nothing_to_build(arguments):
    with pytest.raises(ValueError, match="at least one width and one block are needed, got"):
        blocks(**arguments)
