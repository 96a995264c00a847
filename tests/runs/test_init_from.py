"""A run that starts from the parameters of another."""

import re
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from research.config import Config, ConfigError
from research.records import read_run
from research.runs.load import load_trained
from research.runs.run import evaluate, first_state, load_program, run
from research.utils.files import seal, unseal


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


def renamed(folder, target, names):
    """Return a copy of a run whose classes have other names."""
    path = Path(shutil.copytree(folder, target)) / "checkpoints" / "final" / "manifest.json"
    content = unseal(path.read_text())
    content["meta"]["inputs"]["class_names"] = names
    path.write_text(seal(content))
    return target


DIGITS = [str(digit) for digit in range(10)]


@pytest.mark.parametrize(
    ("names", "keys", "fresh", "sentence"),
    [
        (DIGITS, {}, set(), "6 arrays .*; the head logits is taken, because the classes and their order are"),
        (
            DIGITS[::-1],
            {},
            {"logits"},
            "4 arrays .*; the head logits is initialised afresh, because the class",
        ),
        (DIGITS[::-1], {"head": "keep"}, set(), "the head logits is taken, because init_from.head=keep says"),
        (DIGITS, {"match": "!conv1"}, {"conv1"}, "4 arrays .*; the head logits is taken"),
        (
            DIGITS,
            {"match": "conv*"},
            {"logits"},
            "logits is initialised afresh, because init_from.match leaves",
        ),
    ],
)
def test_the_head_is_taken_for_the_same_classes_only(first, tmp_path, names, keys, fresh, sentence):
    start = renamed(first, tmp_path / "start", names)
    second = config(seed=1, init_from={"run": str(start)} | keys)
    key = jax.random.key(1)
    state, said = first_state(second, load_program(second), key)
    new, _ = first_state(config(seed=1), load_program(config(seed=1)), key)
    saved = load_trained(first).params
    for layer, params in state.params.items():
        expected = (new.params if layer in fresh else saved)[layer]
        jax.tree.map(np.testing.assert_array_equal, params, expected)
    assert re.search(sentence, str(said))


def test_other_shapes_are_refused_unless_the_pattern_leaves_them_out(first, tmp_path):
    wider = {"name": "tiny", "widths": [8, 4]}
    message = r"params/conv2/bias is float32 \(16,\) there, float32 \(4,\) here; .*leaves this layer out"
    with pytest.raises(ConfigError, match=message):
        run(config(model=wider, init_from=str(first)), tmp_path / "second")
    part = config(model=wider, init_from={"run": str(first), "match": "conv1"})
    state, _ = first_state(part, load_program(part), jax.random.key(0))
    np.testing.assert_array_equal(
        state.params["conv1"]["kernel"], load_trained(first).params["conv1"]["kernel"]
    )


def test_a_pattern_that_takes_nothing_is_refused_with_the_names(first, tmp_path):
    nothing = config(init_from={"run": str(first), "match": "conv9"})
    with pytest.raises(ConfigError, match=r"init_from.match=conv9 .* takes some of params/conv1/bias"):
        run(nothing, tmp_path / "second")


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
