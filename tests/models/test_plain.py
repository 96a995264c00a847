import pytest

from research.layers import BatchNorm, Dropout, SpatialDropout
from research.layers.base import abstract_init
from research.models.plain import plain


@pytest.mark.parametrize(
    ("depth", "names"),
    [
        (1, "conv1 act1 pool1 pool2 flatten logits"),
        (2, "conv1 act1 pool1 conv2 act2 pool2 flatten logits"),
        (3, "conv1 act1 pool1 conv2 act2 pool2 conv3 act3 flatten logits"),
    ],
)
def test_pools_follow_the_first_two_convolutions(depth, names):
    net = plain((28, 28, 1), 10, depth=depth)
    assert " ".join(name for name, _ in net.layers) == names


@pytest.mark.parametrize("depth", [-1, 0, 5, 9])
def test_depth_out_of_range(depth):
    with pytest.raises(ValueError, match=f"depth must be between 1 and 4, got {depth}"):
        plain((28, 28, 1), 10, depth=depth)


def test_batch_norm_comes_between_convolution_and_activation():
    layers = plain((8, 8, 1), 10, depth=2, norm="batch").layers
    names = [name for name, _ in layers]
    assert names[:3] == ["conv1", "norm1", "act1"]
    assert [layer for name, layer in layers if name.startswith("norm")] == [BatchNorm(), BatchNorm()]


def test_widths():
    net = plain((8, 8, 1), 10, depth=2, widths=(4, 6))
    params, _ = abstract_init(net, (1, 8, 8, 1))
    assert params["conv2"]["kernel"].shape == (3, 3, 4, 6)


def test_dropout_follows_the_last_pool_of_each_convolution():
    net = plain((28, 28, 1), 10, depth=3, dropout=0.2, dropout_kind="spatial")
    names = [name for name, _ in net.layers]
    assert " ".join(names) == (
        "conv1 act1 pool1 drop1 conv2 act2 pool2 drop2 conv3 act3 drop3 flatten logits"
    )
    assert [layer for name, layer in net.layers if "drop" in name] == [SpatialDropout(0.2)] * 3
    names = [name for name, _ in plain((28, 28, 1), 10, depth=1, dropout=0.2).layers]
    assert names == ["conv1", "act1", "pool1", "pool2", "drop1", "flatten", "logits"]
    assert dict(plain((28, 28, 1), 10, depth=1, dropout=0.2).layers)["drop1"] == Dropout(0.2)


@pytest.mark.parametrize("norm", ["layer", "group"])
def test_other_norms(norm):
    net = plain((8, 8, 1), 10, norm=norm)
    params, state = abstract_init(net, (1, 8, 8, 1))
    assert params["norm1"].keys() == {"scale", "bias"}
    assert params["conv1"].keys() == {"kernel"}
    assert state == {}


def test_an_unknown_norm_and_kind_of_dropout():
    with pytest.raises(ValueError, match="unknown norm 'magic'; allowed: batch, group, layer, none"):
        plain((8, 8, 1), 10, norm="magic")
    with pytest.raises(ValueError, match="unknown dropout_kind 'magic'; allowed: spatial, unit"):
        plain((8, 8, 1), 10, dropout=0.5, dropout_kind="magic")
