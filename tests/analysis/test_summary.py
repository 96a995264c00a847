import json

import pytest

from research.analysis import LayerSummary, as_dict, count_parameters, format_summary, summarize
from research.layers import Dense
from research.layers.base import abstract_init
from research.models import MODELS


@pytest.mark.parametrize("name", MODELS)
def test_rows_of_every_model_add_up_and_fit_json(name):
    net = MODELS[name]((8, 8, 1), 10)
    rows = summarize(net, (1, 8, 8, 1))
    total = as_dict(rows)["total"]
    assert total["parameters"] == count_parameters(abstract_init(net, (1, 8, 8, 1))[0])
    assert rows[-1].path == "logits"
    assert rows[-1].output_shape == (10,)
    decoded = json.loads(json.dumps(as_dict(rows)))
    assert [layer["path"] for layer in decoded["layers"]] == [row.path for row in rows]
    assert len(format_summary(rows).splitlines()) == len(rows) + 2


def test_rows():
    rows = {row.path: row for row in summarize(MODELS["plain"]((28, 28, 1), 10, depth=2), (1, 28, 28, 1))}
    assert rows["conv2"] == LayerSummary(
        path="conv2",
        layer="Conv2D",
        output_shape=(14, 14, 64),
        parameters=18_496,
        macs=14 * 14 * 9 * 32 * 64,
        activation_bytes=14 * 14 * 64 * 4,
        receptive_field=(8, 8),
        stride=(2, 2),
    )
    assert rows["logits"].stride is None


def test_does_not_depend_on_the_batch():
    net = MODELS["plain"]((8, 8, 1), 10)
    assert summarize(net, (1, 8, 8, 1)) == summarize(net, (64, 8, 8, 1))


def test_a_pool_that_was_left_out_is_shown():
    rows = summarize(MODELS["tiny"]((8, 8, 1), 10), (1, 8, 8, 1))
    (row,) = (row for row in rows if row.path == "pool2")
    assert row.layer == "(MaxPool left out)"
    assert (row.parameters, row.macs, row.activation_bytes) == (0, 0, 0)
    assert "pool2    (MaxPool left out)" in format_summary(rows)


def test_inside_residual_blocks():
    rows = summarize(MODELS["simple_resnet"]((32, 32, 3), 10), (1, 32, 32, 3))
    paths = [row.path for row in rows]
    start = paths.index("block3/body/conv1")
    assert paths[start + 5 : start + 8] == ["block3/shortcut/conv", "block3/shortcut/norm", "block3"]


def test_vectors_have_no_receptive_field():
    (row,) = summarize(Dense(3), (1, 4))
    assert row.receptive_field is None
    assert row.stride is None
    assert format_summary([row]).splitlines()[1].split() == [
        "Dense",
        "Dense",
        "3",
        "15",
        "12",
        "12",
        "-",
        "-",
    ]
