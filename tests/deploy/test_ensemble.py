from dataclasses import replace

import jax
import numpy as np
import pytest
from scipy.special import softmax

from research.config import Config, ConfigError
from research.deploy.ensemble import average_networks, load_ensemble, load_snapshot_ensemble
from research.deploy.predict import Predictor
from research.records import RecordError
from research.runs.load import load_data, load_trained
from research.runs.run import evaluate, run
from research.runs.snapshots import load_snapshots, snapshot_steps
from research.training.evaluate import make_predict


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory):
    """A run of two cycles of the learning rate, each of one epoch."""
    folder = tmp_path_factory.mktemp("snapshots") / "run"
    values = {
        "model": {"name": "plain", "depth": 1, "widths": [4], "norm": "batch"},
        "data": {"train_limit": 64},
        "schedule": {"name": "cosine_restarts", "cycles": 2, "growth": 1.0},
        "training": {"epochs": 2, "batch_size": 32, "keep": "last", "snapshots": True},
    }
    assert run(Config.from_dict(values), folder).status == "completed"
    return folder


def logits_of(trained, images):
    return np.asarray(
        make_predict(trained.net, trained.preprocess)(trained.params, trained.model_state, images)
    )


def test_the_snapshots_of_a_run_are_averaged(snapshots):
    trained = load_trained(snapshots)
    first, second = load_snapshots(snapshots, trained)
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), np.uint8)
    np.testing.assert_array_equal(logits_of(second, images), logits_of(trained, images))
    found = softmax(logits_of(load_snapshot_ensemble(snapshots), images), -1)
    expected = (softmax(logits_of(first, images), -1) + softmax(logits_of(second, images), -1)) / 2
    assert np.abs(logits_of(first, images) - logits_of(second, images)).max() > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-6)
    mean = load_snapshot_ensemble(snapshots, "weights")
    for found, *pair in zip(*(jax.tree.leaves(each.params) for each in (mean, first, second)), strict=True):
        np.testing.assert_allclose(found, np.mean(pair, 0), atol=1e-7)
    assert mean.net == trained.net


def test_several_runs_are_predicted_and_evaluated_together(snapshots, run_folder):
    test, folders = load_data(snapshots).test, (snapshots, run_folder)
    images = np.asarray(test.images)
    expected = np.mean([softmax(logits_of(load_trained(folder), images), -1) for folder in folders], 0)
    predictions = Predictor.from_run(snapshots, "none", others=[run_folder])(images[:3], top=10)
    for prediction, row in zip(predictions, expected[:3], strict=True):
        assert [name for name, _ in prediction.top] == [str(k) for k in np.argsort(-row)]
        assert prediction.probability == pytest.approx(row.max(), rel=1e-5)
    measured = evaluate(snapshots, network=load_ensemble(folders, tta="none"))
    assert measured["test_accuracy"] == (expected.argmax(-1) == test.labels).mean()


def test_networks_that_do_not_fit_together_are_refused(snapshots, run_folder):
    trained = load_trained(snapshots)
    assert load_ensemble([snapshots]).net == trained.net
    with pytest.raises(
        ConfigError, match="--average=votes is not allowed; give one of probabilities, weights"
    ):
        load_ensemble([snapshots], "votes")
    with pytest.raises(ConfigError, match=r"training\.tta is none in the first and flip in the second; give"):
        load_ensemble([snapshots, run_folder])
    other = trained._replace(inputs=replace(trained.inputs, image_shape=(9, 8, 1)))
    with pytest.raises(ConfigError, match="a and b are no ensemble: their images are of another size"):
        average_networks([trained, other], "probabilities", ["a", "b"])
    other = trained._replace(config=load_trained(run_folder).config.from_dict({"model": "tiny"}))
    with pytest.raises(
        ConfigError, match="weights is not allowed for a and b, which have different networks"
    ):
        average_networks([trained, other], "weights", ["a", "b"])
    with pytest.raises(RecordError, match=r"holds no snapshots; train it with training\.snapshots=true"):
        load_snapshot_ensemble(run_folder)


def test_cycles_that_end_within_an_epoch_are_refused():
    with pytest.raises(
        ConfigError, match=r"snapshots=true is not allowed with schedule=cosine, which has no"
    ):
        Config.from_dict({"training": {"snapshots": True}})
    values = {"schedule": "cosine_restarts", "training": {"snapshots": True, "epochs": 2, "batch_size": 32}}
    with pytest.raises(
        ConfigError, match=r"give schedule\.growth=1, and training\.epochs as a multiple of sch"
    ):
        snapshot_steps(Config.from_dict(values), 4, 2)
