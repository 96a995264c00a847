"""A run that starts from the parameters of another."""

import shutil

import jax
import numpy as np
import pytest

from research.config import Config, ConfigError
from research.records import read_run
from research.runs.load import load_trained
from research.runs.run import evaluate, run


def config(**values) -> Config:
    base = {"model": {"name": "tiny"}, "data": {"train_limit": 140}, "training": {"epochs": 1}}
    return Config.from_dict(base | values)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first") / "run"
    run(config(), folder)
    return folder


def test_it_starts_from_those_parameters_and_with_a_new_optimizer(first, tmp_path):
    still = {"name": "sgd", "learning_rate": 1e-30}
    result = run(config(seed=1, init_from=str(first), optimizer=still), tmp_path / "second")
    before, after = load_trained(first), load_trained(tmp_path / "second")
    jax.tree.map(np.testing.assert_array_equal, before.params, after.params)
    assert result.test_loss == read_run(first).outcome.test_loss
    assert len(result.provenance["init_checksum"]) == 64


def test_it_is_evaluated_where_the_other_run_is_gone(first, tmp_path):
    shutil.copytree(first, tmp_path / "copy")
    result = run(config(seed=1, init_from=str(tmp_path / "copy")), tmp_path / "second")
    shutil.rmtree(tmp_path / "copy")
    assert evaluate(tmp_path / "second")["test_accuracy"] == result.test_accuracy


def test_another_network_is_refused_with_both_shapes(first, tmp_path):
    message = r"init_from=.* is of another network: params/.* is absent there, float32 \(.*\) here; give"
    with pytest.raises(ConfigError, match=message):
        run(config(model={"name": "mlp"}, init_from=str(first)), tmp_path / "second")


def test_the_fingerprint_is_of_the_parameters_and_not_of_the_path(first, tmp_path):
    shutil.copytree(first, tmp_path / "copy")
    fingerprints = {config(init_from=str(path)).fingerprint() for path in (first, tmp_path / "copy")}
    assert len(fingerprints) == 1
    run(config(seed=1), tmp_path / "other")
    fingerprints |= {config().fingerprint(), config(init_from=str(tmp_path / "other")).fingerprint()}
    assert len(fingerprints) == 3


def test_a_folder_without_parameters_is_refused(tmp_path):
    message = "init_from=.*nowhere is not allowed .*manifest.json cannot be read.*give the folder"
    with pytest.raises(ConfigError, match=message):
        config(init_from=str(tmp_path / "nowhere")).fingerprint()
    with pytest.raises(ConfigError, match=r"init_from=.*there is no checkpoint .*; give a completed run"):
        run(config(init_from=str(tmp_path / "nowhere")), tmp_path / "run")
