"""The comparison from outside, with frameworks that do not do what they should beside NumPy."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from research import records
from research.frameworks import base, compare, process
from research.frameworks.base import Entry, load_framework
from research.frameworks.measure import make_task
from research.frameworks.parity import draw_weights
from research.records.status import read_status
from research.studies.results import read_studies

HERE = Path(__file__).parent
WRONG = ("WrongGradients", "WrongUpdates", "WrongShapes", "NotANumber", "Crashes")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """A comparison on digits of NumPy, five wrong frameworks and one that is not installed."""
    out_dir = tmp_path_factory.mktemp("comparison")
    table = {"numpy": base.FRAMEWORKS["numpy"], "jax_lax": base.FRAMEWORKS["jax_lax"]}
    table |= {name: Entry(f"adapters:{name}", ("numpy",), builds_layers=False) for name in WRONG}
    table["absent"] = Entry("adapters:Absent", ("numpy", "no_such_package"))
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        for module in (compare, process):
            patch.setattr(module, "FRAMEWORKS", table)
        patch.setenv("PYTHONPATH", str(HERE))
        compare.compare(
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
    return out_dir, lines


def runs_of(measured, name):
    """The runs of one framework, in the order of their seeds."""
    return records.find_runs(measured[0] / name)


def test_a_framework_that_agrees_is_timed_once_per_seed(measured):
    runs = runs_of(measured, "numpy")
    assert [run.config["seed"] for run in runs] == [4, 5]
    for run in runs:
        result = run.outcome
        assert result.status == "completed"
        assert result.measurements["gradient_error"] < 1e-5
        assert result.measurements["repeatable"] == 1
        assert 0.5 < result.test_accuracy <= 1
        assert result.measurements["compile_s"] is None
        assert result.seconds.compile == 0
        assert result.measurements["first_step_s"] > 0
        assert result.images_per_s == pytest.approx(2 * 20 * 64 / result.seconds.train)
        assert result.seconds.total > result.seconds.train
        assert 20 < result.measurements["peak_mib"] < 2000
        assert result.num_parameters == 13_706
        assert result.measurements["load_average"] >= 0
        threads = result.provenance["threads"]
        assert threads["num_threads"] == 1
        assert threads["OMP_NUM_THREADS"] == "1"
        assert len(threads.get("processors", [0])) == 1
        assert set(result.provenance["framework_versions"]) == {"numpy"}
    first, second = (run.outcome.provenance["parameters_sha256"] for run in runs)
    assert first != second


@pytest.mark.parametrize("name", ["WrongGradients", "WrongUpdates", "NotANumber"])
def test_a_framework_that_computes_something_else_is_shown_as_failing_and_not_timed(measured, name):
    for run in runs_of(measured, name):
        assert run.status == "failed"
        assert run.outcome.error.startswith("parity failed: the gradient error in ")
        assert run.outcome.test_accuracy is None
        assert "gradient_error" in run.outcome.measurements
    assert not any(line.startswith(f"timing: {name}") for line in measured[1])


def test_a_framework_that_raises_or_crashes_is_a_row_with_its_error(measured):
    shapes, crash = (runs_of(measured, name) for name in ("WrongShapes", "Crashes"))
    assert {run.status for run in (*shapes, *crash)} == {"failed"}
    assert "ValueError: gradients have the shapes" in shapes[0].outcome.error
    assert all("exit code -6" in run.outcome.error for run in crash)


def test_a_framework_that_is_not_installed_is_a_row_with_the_command(measured):
    for run in runs_of(measured, "absent"):
        assert run.status == "failed"
        expected = "not installed; install it with: pip install numpy no_such_package"
        assert run.outcome.error == expected


def test_every_other_round_has_the_opposite_order(measured):
    timed = [line for line in measured[1] if line.startswith("timing")]
    assert timed == ["timing: numpy, reference, seed 4", "timing: numpy, reference, seed 5"]
    for run in runs_of(measured, "numpy"):
        assert run.outcome.provenance["commit"] == "abc"
    common = {"data": {}, "training": {}}
    names = ["numpy", "jax_im2col"]
    plans = compare.plan_rounds(Path("out"), [4, 5, 6], names, small=False, common=common)
    assert [[m.framework for m in plan] for plan in plans] == [names, names[::-1], names]


def test_the_runs_are_a_study_that_the_ordinary_reader_reads(measured):
    (study,) = read_studies(measured[0])
    assert (study.name, study.axis) == ("frameworks", "framework")
    assert [arm.name for arm in study.arms] == ["numpy", *WRONG, "absent"]
    assert {name: len(arm.completed) for arm in study.arms for name in [arm.name]}["numpy"] == 2
    statuses = {status.status for status in read_status(measured[0])}
    assert statuses == {"completed", "failed"}


def test_a_second_launch_measures_only_what_is_missing(tmp_path):
    lines = []

    def launch(**settings):
        lines.clear()
        settings = {"seeds": [4], "epochs": 1, "frameworks": ["numpy"], **settings}
        compare.compare(
            "digits", out_dir=tmp_path, small=False, num_threads=1, on_progress=lines.append, **settings
        )
        return [run.outcome for run in records.find_runs(tmp_path)]

    first = launch()
    assert len(lines) == 3  # the reference, parity, one round
    assert launch() == first
    assert lines == []
    more = launch(seeds=[4, 5])
    assert more[0] == first[0]
    assert len(more) == 2
    assert [line for line in lines if line.startswith("timing")] == ["timing: numpy, reference, seed 5"]
    with pytest.raises(ValueError, match="holds a comparison with other settings"):
        launch(epochs=2)
    (tmp_path / "numpy" / "4" / "result.json").write_text("{}")
    with pytest.raises(ValueError, match=r"result\.json is damaged"):
        launch()


def test_networks_of_the_second_table(workplace, task):
    large = task | {"model": "mlp", "model_arguments": {"hidden": [512, 512, 512]}}
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
