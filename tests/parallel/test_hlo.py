"""What devices exchange, counted in the compiled programs."""

import jax
import pytest

from research.data import Preprocess
from research.layers import BatchNorm
from research.models import MODELS
from research.parallel import Layout
from research.parallel.hlo import collectives

PREPROCESS = Preprocess((0.3,), (0.3,))
SMALL = {"widths": (8, 8, 8, 8)}


def num_bytes(tree):
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize("strategy", ["jit", "shard_map", "pmap"])
def test_without_batch_norm_a_step_exchanges_once(train, strategy):
    net = MODELS["plain"]((8, 8, 1), 10, **SMALL)
    trained = train(net, strategy, Layout.of(4), PREPROCESS, num_steps=1)
    (exchange,) = [found for found in trained.collectives if found.in_loop]
    assert exchange.kind == "all-reduce"
    # all gradients together; under jit the loss and the count of correct answers travel with them, and the
    # gradient of each bias of a convolution is the first of four equal rows
    biases = num_bytes([value["bias"] for name, value in trained.state.params.items() if "conv" in name])
    assert exchange.num_bytes - num_bytes(trained.state.params) == (
        8 + 3 * biases if strategy == "jit" else 0
    )
    assert {found.kind for found in trained.collectives} == {"all-reduce"}
    # at the end of a call once more, for all its metrics
    assert len(trained.collectives) == (1 if strategy == "jit" else 2)


def test_one_device_exchanges_nothing(train):
    net = MODELS["plain"]((8, 8, 1), 10, **SMALL)
    assert train(net, "single", Layout.of(1), PREPROCESS, num_steps=1).collectives == []


@pytest.mark.parametrize("strategy", ["jit", "shard_map", "pmap"])
def test_batch_norm_adds_its_statistics(train, strategy):
    net = MODELS["plain"]((8, 8, 1), 10, norm="batch", **SMALL)
    num_norms = sum(isinstance(layer, BatchNorm) for _, layer in net.layers)
    assert num_norms == 2
    trained = train(net, strategy, Layout.of(4), PREPROCESS, num_steps=1)
    in_loop = [found for found in trained.collectives if found.in_loop]
    assert {found.kind for found in in_loop} == {"all-reduce"}
    statistics = sum(found.num_bytes for found in in_loop) - num_bytes(trained.state.params)
    assert statistics >= 2 * num_bytes(trained.state.model_state)  # forward and backward


def test_local_batch_norm_adds_nothing(train):
    net = MODELS["plain"]((8, 8, 1), 10, norm="batch", **SMALL)
    trained = train(net, "shard_map", Layout.of(4), PREPROCESS, num_steps=1, local_batch_norm=True)
    (exchange,) = [found for found in trained.collectives if found.in_loop]
    assert exchange.num_bytes == num_bytes((trained.state.params, trained.state.model_state))


def test_the_reader_sees_tuples_and_asynchronous_forms():
    text = "  %r = (f32[3]{0}, bf16[2,2]{1,0}, s32[]) all-reduce-start(%x, %y, %z), channel_id=1"
    assert collectives(text) == [("all-reduce", 12 + 8 + 4, False)]
