"""The comparison from outside, with frameworks that do not do what they should beside NumPy."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from research.frameworks import base, compare, process
from research.frameworks.base import Entry, load_framework
from research.frameworks.measure import make_task
from research.frameworks.parity import draw_weights

HERE = Path(__file__).parent
WRONG = ("WrongGradients", "WrongUpdates", "WrongShapes", "NotANumber", "Crashes")


@pytest.fixture(scope="module")
def measurements(tmp_path_factory):
    """A comparison on digits of NumPy, five wrong frameworks and one that is not installed."""
    out_dir = tmp_path_factory.mktemp("comparison")
    table = {"numpy": base.FRAMEWORKS["numpy"], "jax_lax": base.FRAMEWORKS["jax_lax"]}
    table |= {name: Entry(f"adapters:{name}", ("numpy",)) for name in WRONG}
    table["absent"] = Entry("adapters:Absent", ("numpy", "no_such_package"))
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        for module in (compare, process):
            patch.setattr(module, "FRAMEWORKS", table)
        patch.setenv("PYTHONPATH", str(HERE))
        path = compare.compare(
            "digits",
            out_dir=out_dir,
            seeds=[4, 5],
            epochs=2,
            batch_size=64,
            frameworks=["numpy", *WRONG, "absent"],
            small=False,
            num_threads=1,
            provenance={"commit": "abc"},
            on_progress=lines.append,
        )
    return json.loads(path.read_text()) | {"lines": lines}


def test_a_framework_that_agrees_is_timed_once_per_seed(measurements):
    row = measurements["frameworks"]["numpy"]
    assert row["status"] == "completed"
    assert row["parity"]["gradient_error"] < 1e-5
    assert [measured["seed"] for measured in row["rounds"]] == [4, 5]
    for measured in row["rounds"]:
        assert 0.5 < measured["accuracy"] <= 1
        assert measured["compile_s"] is None
        assert measured["first_step_s"] > 0
        assert measured["images_per_s"] == pytest.approx(2 * 20 * 64 / measured["train_s"])
        assert 20 < measured["peak_mib"] < 2000
        assert measured["num_parameters"] == 13_706
        assert measured["load_average"] >= 0
        assert measured["threads"]["num_threads"] == 1
        assert measured["threads"]["OMP_NUM_THREADS"] == "1"
        assert len(measured["threads"].get("processors", [0])) == 1
        assert set(measured["versions"]) == {"numpy"}
    assert row["rounds"][0]["parameters_sha256"] != row["rounds"][1]["parameters_sha256"]


@pytest.mark.parametrize("name", ["WrongGradients", "WrongUpdates", "NotANumber"])
def test_a_framework_that_computes_something_else_is_shown_as_failing_and_not_timed(measurements, name):
    row = measurements["frameworks"][name]
    assert row["status"] == "parity failed"
    assert not row["parity"]["holds"]
    assert row["rounds"] == []
    assert not any(line.startswith(f"timing: {name}") for line in measurements["lines"])


def test_a_framework_that_raises_or_crashes_is_a_row_with_its_error(measurements):
    shapes, crash = (measurements["frameworks"][name] for name in ("WrongShapes", "Crashes"))
    assert shapes["status"] == crash["status"] == "failed"
    assert "ValueError: gradients have the shapes" in shapes["error"]
    assert "exit code -6" in crash["error"]


def test_a_framework_that_is_not_installed_is_a_row_with_the_command(measurements):
    row = measurements["frameworks"]["absent"]
    assert row["status"] == "not installed"
    assert row["install"] == "pip install numpy no_such_package"
    assert row["rounds"] == []


def test_every_other_round_has_the_opposite_order(measurements):
    timed = [line for line in measurements["lines"] if line.startswith("timing")]
    assert timed == ["timing: numpy, reference, seed 4", "timing: numpy, reference, seed 5"]
    assert measurements["config"]["seeds"] == [4, 5]
    assert measurements["provenance"] == {"commit": "abc"}


def test_a_second_launch_measures_only_what_is_missing(tmp_path):
    lines = []

    def launch(**settings):
        lines.clear()
        settings = {"seeds": [4], "epochs": 1, "frameworks": ["numpy"], **settings}
        path = compare.compare(
            "digits", out_dir=tmp_path, small=False, num_threads=1, on_progress=lines.append, **settings
        )
        return json.loads(path.read_text())["frameworks"]["numpy"]["rounds"]

    first = launch()
    assert len(lines) == 3  # the reference, parity, one round
    assert launch() == first
    assert lines == []
    more = launch(seeds=[4, 5])
    assert more[0] == first[0]
    assert [measured["seed"] for measured in more] == [4, 5]
    assert [line for line in lines if line.startswith("timing")] == ["timing: numpy, reference, seed 5"]
    with pytest.raises(ValueError, match="holds a comparison with other settings"):
        launch(epochs=2)
    (tmp_path / "measurements.json").write_text("{}")
    with pytest.raises(ValueError, match=r"measurements\.json is damaged"):
        launch()


def test_networks_of_the_second_table(workplace, task):
    large = task | compare.SMALL["mlp 512-512-512"]
    network: Any = load_framework("jax_im2col", make_task(large))
    weights: dict[str, Any] = draw_weights(network.shapes(), 0)
    np.savez(workplace.folder / "large-0.npz", **weights)
    outcome = workplace.run("timing", "jax_im2col", large, weights="large")
    assert outcome["num_parameters"] == 64 * 512 + 2 * 512 * 512 + 512 * 10 + 3 * 512 + 10
    assert outcome["compile_s"] > 0
    assert outcome["accuracy"] > 0.5


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"frameworks": ["theano"]}, "unknown framework 'theano'; allowed: .*torch_channels_last"),
        ({"optimizer": "lion"}, "optimizer='lion'; the frameworks share: sgd, momentum, adam"),
        ({"batch_size": 5000}, "batch_size=5000; allowed: 1 to 1294 for digits"),
        ({"epochs": 0}, "epochs=0"),
        ({"seeds": []}, "0 seeds"),
        ({"num_threads": 10_000}, "num_threads=10000; allowed: 1 to"),
    ],
)
def test_what_cannot_be_is_an_error_before_anything_is_run(wrong, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        compare.compare("digits", out_dir=tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()


def test_a_missing_framework_names_the_command(task, monkeypatch):
    monkeypatch.setitem(base.FRAMEWORKS, "absent", Entry("x:Y", ("no_such_package",)))
    with pytest.raises(ModuleNotFoundError, match="pip install no_such_package"):
        base.load_framework("absent", base.Task((8, 8, 1), 10))


def test_this_process_keeps_its_processors(workplace, task):
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system cannot pin processes to processors")
    before = os.sched_getaffinity(0)
    workplace.run("parity", "numpy", task)
    assert os.sched_getaffinity(0) == before
