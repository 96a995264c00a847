"""Layouts and options that cannot be, each with one sentence."""

import pytest

from research.config import Config, ConfigError
from research.parallel.devices import MAX_CPU_DEVICES
from research.runs.devices import build_layout, num_cpu_devices
from research.runs.run import run


def config(batch_size=64, **parallel) -> Config:
    return Config.from_dict(
        {
            "model": {"name": "tiny"},
            "data": {"train_limit": 200},
            "training": {"epochs": 1, "batch_size": batch_size, "xla_optimization_level": 0},
            "parallel": parallel,
        }
    )


@pytest.mark.parametrize(
    ("parallel", "message"),
    [
        ({"name": "jitt"}, r"parallel\.name=jitt is not allowed; give one of auto, jit, pmap"),
        ({"num_devices": 2}, "parallel=single is not allowed with several devices; give parallel=jit"),
        ({"name": "jit", "num_devices": 9}, r"parallel\.num_devices=9 is not allowed; there are 8 devices"),
        (
            {"name": "jit", "num_devices": 3},
            r"training\.batch_size=64 is not allowed over 3 devices; give a multiple of 3, such as 63 or 66",
        ),
        (
            {"name": "jit", "num_devices": 4, "mesh": {"data": 4, "model": 2}},
            r"parallel\.mesh=4 by model=2 is not allowed; give axes whose product is 4 devices",
        ),
        (
            {"name": "auto", "mesh": {"model": 2}, "batch_norm": "local"},
            r"batch_norm=local is not allowed with parallel=auto, which takes jit here",
        ),
        ({"name": "pmap", "mesh": {"model": 2}}, r"mesh\.model=2 is not allowed with parallel=pmap; give 1"),
        ({"name": "jit", "batch_norm": "local"}, "batch_norm=local is not allowed with parallel=jit"),
        (
            {"name": "jit", "mesh": {"run": 2}},
            r"runs_per_program=1 is not allowed over .*a multiple of 2",
        ),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(parallel, message):
    with pytest.raises(ConfigError, match=message):
        build_layout(config(**parallel))


@pytest.mark.parametrize(
    ("parallel", "training", "message"),
    [
        (
            {"name": "jit", "mesh": {"run": 4}},
            {},
            r"runs_per_program=6 is not allowed .*=4; give a multiple of 4",
        ),
        (
            {"name": "pmap"},
            {},
            "parallel=pmap is not allowed with training.runs_per_program=6; give parallel=jit or",
        ),
        (
            {},
            {"window": 3},
            r"training\.window=3 is not allowed with training\.runs_per_program=6.*window=null",
        ),
        (
            {"name": "jit", "num_devices": 4, "mesh": {"run": 3, "data": 2}},
            {},
            r"parallel\.mesh=run=3 by 2 by model=1 is not allowed; give axes whose product is 4 devices",
        ),
    ],
)
def test_what_several_runs_cannot_share_is_said_in_a_sentence(parallel, training, message):
    values = config(**parallel).to_dict()
    values["training"] |= {"runs_per_program": 6, **training}
    with pytest.raises(ConfigError, match=message):
        build_layout(Config.from_dict(values))


def test_auto_takes_one_device_of_a_cpu_unless_more_are_asked_for():
    assert build_layout(config(name="auto"))[0] == "single"
    strategy, layout = build_layout(config(name="auto", num_devices=8))
    assert (strategy, layout.num_shards) == ("shard_map", 8)
    assert build_layout(config(name="auto", mesh={"model": 2}))[0] == "jit"


def test_cpu_devices_are_asked_for_before_jax_starts():
    assert num_cpu_devices(config()) == 1
    assert num_cpu_devices(config(name="jit", num_devices=5)) == 5
    assert num_cpu_devices(config(name="jit", mesh={"data": 4, "model": 2})) == 8
    assert num_cpu_devices(config(name="auto", mesh={"run": 2})) == 2
    assert num_cpu_devices(config(name="auto", mesh={"model": 10**30})) == MAX_CPU_DEVICES


@pytest.mark.slow
def test_a_run_on_several_devices_gives_what_one_gives(tmp_path):
    alone = run(config(), tmp_path / "alone")
    # 256 images of evaluation do not divide over 3 devices, the batch of 63 does
    assert run(config(batch_size=63, name="jit", num_devices=3), tmp_path / "three").status == "completed"
    for strategy in ("jit", "shard_map", "pmap"):
        result = run(config(name=strategy, num_devices=4), tmp_path / strategy)
        assert result.test_accuracy == alone.test_accuracy
        assert result.test_loss == pytest.approx(alone.test_loss, rel=1e-4)
