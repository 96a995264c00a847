import shutil

import jax
import numpy as np
import pytest

from research.config import Config
from research.data import load_dataset
from research.records import RecordError, RunResult, read_run, write_config, write_result
from research.runs import build
from research.runs.load import load_data, load_trained
from research.runs.run import run
from research.training import checkpoint
from research.training.evaluate import make_predict, measure

VALUES = {"model": {"name": "tiny"}, "data": {"train_limit": 200}, "training": {"epochs": 1}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("load") / "run"
    return folder, run(Config.from_dict(VALUES), folder)


def test_a_loaded_network_predicts_as_its_run_did(finished):
    folder, result = finished
    trained, test = load_trained(folder), load_data(folder).test
    predict = make_predict(trained.net, trained.preprocess)
    logits = predict(trained.params, trained.model_state, jax.numpy.asarray(test.images))
    assert measure(np.asarray(logits), test.labels)[1] == result.test_accuracy


def test_a_run_is_enough_without_its_dataset(finished, monkeypatch):
    folder, _ = finished
    with monkeypatch.context() as patch:
        patch.setattr(build, "load_dataset", None)  # a call would fail
        inputs = load_trained(folder).inputs
    digits = load_dataset("digits", train_limit=200)
    assert inputs == digits.inputs
    assert inputs.class_names == tuple("0123456789")
    examples = read_run(folder).arrays()["example_images"]
    assert len(examples) == 64
    np.testing.assert_array_equal(examples[[0, 1, 63]], digits.test.images[[0, 5, 358]])


def test_an_old_run_takes_from_its_dataset_what_it_lacks(finished, tmp_path, monkeypatch):
    folder, _ = finished
    new, old = folder / "checkpoints" / "final", tmp_path / "checkpoints" / "final"
    trained = load_trained(folder)
    meta = checkpoint.read_meta(new)
    del meta["inputs"]
    checkpoint.save(old, {"params": trained.params, "model_state": trained.model_state}, meta)
    write_config(tmp_path, Config.from_dict(VALUES).to_dict())
    write_result(tmp_path, read_run(folder).outcome)
    assert load_trained(tmp_path).inputs == trained.inputs
    write_config(tmp_path, Config.from_dict({**VALUES, "data": {"test_fraction": 0.3}}).to_dict())
    write_result(tmp_path, RunResult("completed", provenance={"data_checksum": "of other data"}))
    with pytest.raises(RecordError, match=r"did not store the class names, .* but .* trained on other data"):
        load_trained(tmp_path)


def test_a_network_is_loaded_where_there_are_fewer_devices(finished, tmp_path):
    folder, result = finished
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    many = {"name": "jit", "num_devices": jax.device_count() + 1}
    write_config(tmp_path, Config.from_dict({**VALUES, "parallel": many}).to_dict())
    write_result(tmp_path, result)
    assert load_trained(tmp_path).inputs == load_trained(folder).inputs


def test_a_run_that_failed_has_no_network(tmp_path):
    write_config(tmp_path, Config.from_dict({}).to_dict())
    write_result(tmp_path, RunResult("failed", "boom"))
    with pytest.raises(RecordError, match="has no parameters to evaluate: the run is failed"):
        load_trained(tmp_path)
