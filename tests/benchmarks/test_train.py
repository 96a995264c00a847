import json
from dataclasses import replace

import pytest

from research.benchmarks.timing import alternate, make_gemm
from research.benchmarks.train import IMPLEMENTATIONS, BenchmarkConfig, benchmark_train, step_flops
from research.config import Config
from research.layers import Conv2D, Dense, Flatten, GroupNorm, Sequential
from research.models import MODELS
from research.runs.spec import choose_num_parts
from research.training.freeze import Freeze

MNIST = {"data": {"name": "mnist"}, "schedule": {"name": "constant"}}


def grouped(image_shape: tuple[int, ...], num_classes: int, *, algorithm: str = "auto") -> Sequential:
    """A network with a normalisation that no other framework builds here."""
    layers = (("conv1", Conv2D(8, algorithm=algorithm)), ("norm1", GroupNorm(4)), ("flatten", Flatten()))
    return Sequential((*layers, ("logits", Dense(num_classes))))


def test_work_of_the_timed_network():
    config = Config.from_dict({**MNIST, "model": {"name": "conv_pair"}, "training": {"batch_size": 128}})
    conv1, rest = 28 * 28 * 9 * 32, 14 * 14 * 9 * 32 * 64 + 3136 * 128 + 128 * 10
    assert step_flops(config) == 2 * 128 * (2 * conv1 + 3 * rest)  # no gradient of the images
    training = replace(config.training, freeze=(Freeze("!logits"),))
    assert step_flops(replace(config, training=training)) == 2 * 128 * (conv1 + rest + 128 * 10)


def test_every_implementation_is_timed_or_said_to_be_missing():
    model = {"name": "conv_pair", "widths": (2, 2), "hidden": (3,)}
    config = Config.from_dict(
        {"model": model, "schedule": {"name": "constant"}, "training": {"batch_size": 4}}
    )
    result = benchmark_train(
        config, BenchmarkConfig(rounds=2, steps=1, runs_per_program=(2,), evaluation=True)
    )
    assert set(result["ms"]) | set(result["skipped"]) == {*IMPLEMENTATIONS, "ours_2_runs"}
    assert set(result["ratio"]) == set(result["ms"]) - {"ours"}
    for ms in result["ms"].values():
        assert 0 < ms["lower"] <= ms["median"] <= ms["upper"]
    assert result["compile_s"] > 0
    assert result["evaluation"].keys() == {"auto", "lax", "chosen"}
    assert all(value > 0 for evaluated in result["evaluation"].values() for value in evaluated.values())
    assert json.loads(json.dumps(result)) == result


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"optimizer": {"name": "sgd"}}, "unlike optimizer=sgd"),
        ({"training": {"batch_size": 4, "precision": "bf16"}}, "unlike training.precision=bf16"),
        ({"model": {"name": "grouped"}}, "no Flax module for"),
    ],
)
def test_a_step_that_others_do_not_take_is_not_compared(change, reason, monkeypatch):
    monkeypatch.setitem(MODELS, "grouped", grouped)
    values = {"model": {"name": "plain", "depth": 1}, "schedule": {"name": "constant"}}
    config = Config.from_dict({**values, "training": {"batch_size": 4}, **change})
    benchmark = BenchmarkConfig(implementations=("flax_linen",), rounds=2, steps=1)
    result = benchmark_train(config, benchmark)
    assert set(result["ms"]) == {"ours"}
    assert reason in result["skipped"]["flax_linen"]


def test_alternation_turns_round():
    calls = []
    works = {name: lambda name=name: calls.append(name) for name in "ab"}
    assert {name: len(seconds) for name, seconds in alternate(works, rounds=2).items()} == {"a": 2, "b": 2}
    assert "".join(calls) == "ab" + "ab" + "ba"


def test_the_gemm_is_counted():
    work, flops = make_gemm(size=8, repeats=3)
    assert work().shape == (8, 8)
    assert flops == 3 * 2 * 8**3


@pytest.mark.parametrize(
    ("model", "batch_size", "strategy", "num_parts"),
    [
        ("conv_pair", 128, "single", 8),
        ("conv_pair", 32, "single", 2),
        ("conv_pair", 16, "single", 1),
        ("conv_pair", 131, "single", 1),  # a prime has no parts of 16 or more
        ("conv_pair", 128, "jit", 1),
        ("modern_cnn", 128, "single", 1),
    ],
)
def test_a_batch_is_cut_where_that_changes_nothing(model, batch_size, strategy, num_parts):
    net = MODELS[model]((28, 28, 1), 10)
    assert choose_num_parts(net, (28, 28, 1), batch_size, strategy) == num_parts
