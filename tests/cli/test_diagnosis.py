"""The commands that look at a network before it is trained."""

import json
from pathlib import Path

from research.layers import Dense, Flatten, Sequential
from research.models import MODELS
from tests.analysis.test_gradient_check import Scaled


def test_check_gradients_names_the_layer_of_a_network_of_ones_own(call, monkeypatch, stored_anew):
    def own(image_shape, num_classes):
        return Sequential((("flat", Flatten()), ("mine", Scaled()), ("logits", Dense(num_classes))))

    monkeypatch.setitem(MODELS, "own", own)
    outcome = call("check_gradients.py", "model=own")
    assert outcome.code == 1
    said = [line for line in outcome.out.splitlines() if line.startswith("mine:")]
    assert said[0].startswith(
        "mine: the gradient of input disagrees with central differences, relative error"
    )
    assert len(said) == 1


def test_profile_model_measures_layers_and_step(call):
    words = ("model=mlp", "training.batch_size=16", "rounds=2", "format=json", "out=profile")
    outcome = call("profile_model.py", *words)
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert json.loads(Path("profile/profile_model.json").read_text()) == result
    assert Path("profile/profile_model.png").exists()
    assert [layer["path"] for layer in result["layers"]] == ["flatten", "dense1", "act1", "logits"]
    assert result["step"]["ms"] > 0


def test_find_learning_rate_prints_one_number_for_train(call):
    words = ("model=mlp", "optimizer=sgd", "data.train_limit=64", "training.batch_size=16")
    outcome = call("find_learning_rate.py", *words, "steps=40", "highest=100", "out=range")
    assert outcome.code == 0, outcome.err
    assert 1e-6 < float(outcome.out) < 100
    assert outcome.out.count("\n") == 1
    assert f"it falls fastest at {outcome.out}" in outcome.err
    assert Path("range/find_learning_rate.png").exists()
    kept = json.loads(Path("range/find_learning_rate.json").read_text())
    assert f"{kept['steepest']:.3g}" == outcome.out.strip()


def test_find_batch_size_prints_one_number(call):
    words = ("model=mlp", "data.train_limit=64", "training.batch_size=64")
    outcome = call("find_batch_size.py", *words)
    assert (outcome.code, outcome.out) == (0, "64\n"), outcome.err
    assert outcome.err.splitlines()[-1] == "a batch of all training images fits"
