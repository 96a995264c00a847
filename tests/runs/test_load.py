import jax
import numpy as np
import pytest

from research.config import Config
from research.records import RecordError, RunResult, read_run, write_config, write_result
from research.runs.load import load_trained
from research.runs.run import run
from research.training.evaluate import make_predict, measure


def test_a_loaded_network_predicts_as_its_run_did(tmp_path):
    config = Config.from_dict(
        {"model": {"name": "tiny"}, "data": {"train_limit": 200}, "training": {"epochs": 1}}
    )
    result = run(config, tmp_path / "run")
    trained = load_trained(tmp_path / "run")
    predict = make_predict(trained.net, trained.preprocess)
    logits = predict(trained.params, trained.model_state, jax.numpy.asarray(trained.dataset.test.images))
    assert measure(np.asarray(logits), trained.dataset.test.labels)[1] == result.test_accuracy


def test_a_network_is_loaded_where_there_are_fewer_devices(tmp_path):
    values = {"model": {"name": "tiny"}, "data": {"train_limit": 200}, "training": {"epochs": 1}}
    run(Config.from_dict(values), tmp_path)
    result = read_run(tmp_path).outcome
    many = {"name": "jit", "num_devices": jax.device_count() + 1}
    write_config(tmp_path, Config.from_dict({**values, "parallel": many}).to_dict())
    write_result(tmp_path, result)
    assert load_trained(tmp_path).eval_batch_size == 256


def test_a_run_that_failed_has_no_network(tmp_path):
    write_config(tmp_path, Config.from_dict({}).to_dict())
    write_result(tmp_path, RunResult("failed", "boom"))
    with pytest.raises(RecordError, match="has no parameters to evaluate: the run is failed"):
        load_trained(tmp_path)
