"""Runs that keep an average of their parameters."""

import jax.numpy as jnp
import numpy as np
import pytest

from research.config import Config
from research.runs.build import eval_batch_size
from research.runs.load import load_data, load_trained
from research.runs.run import evaluate, run


def config(**values) -> Config:
    base = {
        "model": {"name": "simple_resnet", "widths": [4], "blocks": 1},
        "data": {"train_limit": 140},
        "training": {"epochs": 3, "batch_size": 32, "keep": "last", "xla_optimization_level": 0},
    }
    return Config.from_dict(base | values | {"training": base["training"] | values.get("training", {})})


def test_swa_computes_the_batch_statistics_of_the_average_once_more(tmp_path):
    result = run(config(training={"swa_from": 2}), tmp_path / "run")
    trained = load_trained(tmp_path / "run")
    dataset = load_data(tmp_path / "run")
    images, size = dataset.train.images, eval_batch_size(trained.config, dataset)
    batches = np.resize(np.arange(len(images)), (-(-len(images) // size), size))
    means, variances = [], []
    for batch in batches:
        x = trained.preprocess(jnp.asarray(images[batch]))
        outputs = trained.net.trace(trained.params, trained.model_state, x, train=False)[2]["conv1"]
        means.append(np.asarray(outputs, np.float64).mean((0, 1, 2)))
        variances.append(np.asarray(outputs, np.float64).var((0, 1, 2)))
    norm = trained.model_state["norm1"]
    np.testing.assert_allclose(norm["mean"], np.mean(means, 0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm["variance"], np.mean(variances, 0), rtol=1e-4)
    assert evaluate(tmp_path / "run")["test_accuracy"] == result.test_accuracy


@pytest.mark.parametrize("training", [{"ema": 0.5}, {"swa_from": 1}])
def test_a_run_with_an_average_and_noise_starts_from_another_run(training, tmp_path):
    run(config(), tmp_path / "first")
    optimizer = {"name": "adam", "gradient_noise": 1e-4, "sam": 0.05}
    second = config(init_from=str(tmp_path / "first"), optimizer=optimizer, training=training)
    assert run(second, tmp_path / "second").status == "completed"
