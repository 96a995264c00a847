"""Runs that freeze parameters in some epochs."""

import itertools
import signal
from pathlib import Path

import jax
import numpy as np
import pytest

from research.config import Config, ConfigError
from research.layers.base import by_path
from research.records import read_run
from research.runs import program
from research.runs.build import check
from research.runs.load import load_trained
from research.runs.preemption import StopOnSignal
from research.runs.run import run
from research.training.callback import Callback

FREEZE = ({"match": "conv1"}, {"match": "conv2", "until_epoch": 2})
"""One layer is frozen in all of the three epochs, and another one in the first two."""


def config(freeze=FREEZE, **training) -> Config:
    values = {"epochs": 3, "batch_size": 32, "scan_steps": 1, "keep": "last", "xla_optimization_level": 0}
    return Config.from_dict(
        {
            "model": "tiny",
            "optimizer": {"name": "adamw", "weight_decay": 0.1},
            "data": {"train_limit": 70},
            "training": values | {"freeze": list(freeze)} | training,
        }
    )


class Parameters(Callback):
    """Keeps the parameters before each step."""

    def __init__(self):
        self.seen = []

    def on_start(self, position, num_steps):
        self.on_steps(position, 0)

    def on_steps(self, position, count):
        self.seen.append({name: np.asarray(leaf) for name, leaf in by_path(position.state.params).items()})


@pytest.fixture(scope="module")
def frozen(tmp_path_factory) -> tuple[Path, Parameters]:
    folder, parameters = tmp_path_factory.mktemp("frozen") / "run", Parameters()
    run(config(), folder, [parameters])
    return folder, parameters


def test_each_layer_is_frozen_in_its_epochs(frozen):
    """An epoch has two steps."""
    _, parameters = frozen
    before, *_, two_epochs, _, end = parameters.seen[:1] + parameters.seen[2:]
    assert len(parameters.seen) == 7
    for name, first in before.items():
        layer = name.partition("/")[0]
        assert np.array_equal(first, two_epochs[name]) == (layer in ("conv1", "conv2")), name
        assert np.array_equal(first, end[name]) == (layer == "conv1"), name


def test_an_interrupted_run_has_the_same_bits_and_the_same_program(frozen, tmp_path):
    folder, _ = frozen
    compiled = program._compile.cache_info().misses
    calls = itertools.count(1)
    stop = StopOnSignal(lambda: signal.SIGTERM if next(calls) >= 3 else None)
    assert run(config(), tmp_path / "run", [stop]).status == "preempted"
    run(config(), tmp_path / "run", resume=True)
    whole, resumed = (load_trained(path).params for path in (folder, tmp_path / "run"))
    jax.tree.map(np.testing.assert_array_equal, whole, resumed)
    assert program._compile.cache_info().misses == compiled


def test_the_key_is_in_the_fingerprint_and_its_absence_is_not(frozen):
    assert config().fingerprint() != config(()).fingerprint() != config(FREEZE[:1]).fingerprint()
    assert Config.from_record(read_run(frozen[0]).config) == config()


@pytest.mark.parametrize(
    ("freeze", "message"),
    [
        ([{"match": "conv3"}], "training.freeze: match=conv3 is not allowed: it takes no parameter"),
        ([{"match": "*"}], "training.freeze: every parameter is frozen in epoch 1"),
        ([{"match": "conv1", "from_epoch": 4}], "training.freeze.from_epoch=4 .*conv1; give at most 3"),
        (
            [{"match": "conv1", "from_epoch": 2, "until_epoch": 1}],
            "training.freeze.until_epoch=1 is not allowed for match=conv1; give at least 2",
        ),
        ([{"pattern": "conv1"}], "there is no key training.freeze.pattern; allowed: match, from_epoch"),
        ([{"from_epoch": 2}], "training.freeze.match is missing"),
    ],
)
def test_what_cannot_be_frozen_is_refused(freeze, message):
    with pytest.raises(ConfigError, match=message):
        check(config(freeze))
