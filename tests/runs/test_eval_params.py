"""Validation, the best checkpoint, the test split and the loaded network use the averaged parameters."""

import jax
import jax.numpy as jnp
import numpy as np

from research.config import Config
from research.runs.build import build_data
from research.runs.load import load_trained
from research.runs.run import evaluate, run
from research.runs.spec import program_spec


def test_a_run_evaluates_and_keeps_the_slow_weights(tmp_path):
    """The slow weights do not move within a run that is shorter than their period."""
    config = Config.from_dict(
        {
            "model": "tiny",
            "optimizer": {"name": "adam", "lookahead": 1000},
            "data": {"train_limit": 128},
            "training": {"epochs": 2, "xla_optimization_level": 0},
        }
    )
    result = run(config, tmp_path / "run")
    trained = load_trained(tmp_path / "run")
    init = program_spec(config, build_data(config.data)).init
    start = init(jax.random.key(0), jnp.float32(0), jnp.float32(0)).params
    jax.tree.map(np.testing.assert_array_equal, trained.params, start)
    assert result.best_epoch == 1
    measured = evaluate(tmp_path / "run")
    assert (measured["test_loss"], measured["test_accuracy"]) == (result.test_loss, result.test_accuracy)
