"""The comparison from outside, with frameworks that do not do what they should beside NumPy."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_limits

from research import records
from research.config import DataConfig
from research.frameworks import base, compare, process
from research.frameworks.base import FRAMEWORKS, Entry
from research.frameworks.config import ComparisonConfig, Duration
from research.frameworks.measure import make_measure
from research.records.status import read_status
from research.studies.results import read_studies
from research.utils.strict import construct

HERE = Path(__file__).parent
WRONG = ("WrongGradients", "WrongUpdates", "WrongShapes", "NotANumber", "Crashes")


def with_tuples(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has lists only, and the annotations, which the tests check, ask for tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


@pytest.fixture(scope="module")
def here(workplace):
    """In place of `Process`: measures in this process, but NumPy is timed and a crash happens in another.

    The reference is that of the workplace, whose data, network, seed and batch size all tests here have.
    """

    class ProcessHere(process.Process):
        _measure = None

        def measure(self, seed):
            spec = json.loads(json.dumps(self._spec), object_hook=with_tuples)
            work, path = spec["work"], spec["entry"]["path"]
            if (work, path) == ("timing", FRAMEWORKS["numpy"].path) or path == "adapters:Crashes":
                return super().measure(seed)
            self._on_seed(seed)
            if work == "reference":
                assert (seed, spec["batch_size"]) == (0, workplace.common["batch_size"])
                shutil.copy(workplace.folder / "reference.npz", spec["folder"])
                return {"losses": []}
            try:
                with threadpool_limits(1):
                    self._measure = self._measure or make_measure(spec)
                    return self._measure(seed) | {"load_average": 0.0, "total_s": 1.0}
            except Exception as error:
                return {"error": f"exit code 1: {type(error).__name__}: {error}"}

    return ProcessHere


@pytest.fixture(scope="module")
def measured(here, tmp_path_factory):
    """A comparison on digits of NumPy, five wrong frameworks and one that is not installed."""
    out_dir = tmp_path_factory.mktemp("comparison")
    table = {"numpy": base.FRAMEWORKS["numpy"], "jax_lax": base.FRAMEWORKS["jax_lax"]}
    table |= {name: Entry(f"adapters:{name}", ("numpy",), builds_layers=False) for name in WRONG}
    table["absent"] = Entry("adapters:Absent", ("numpy", "no_such_package"))
    lines = []
    with pytest.MonkeyPatch.context() as patch:
        for module in (compare, process):
            patch.setattr(module, "FRAMEWORKS", table)
        patch.setattr(process, "Process", here)
        patch.setenv("PYTHONPATH", str(HERE))
        patch.syspath_prepend(str(HERE))
        config = ComparisonConfig(
            DataConfig("digits"),
            Duration(2, 64),
            str(out_dir),
            seeds=2,
            frameworks=("numpy", *WRONG, "absent"),
            small=False,
            num_threads=1,
        )
        compare.compare(config, {"commit": "abc"}, lines.append)
    return out_dir, lines


def runs_of(measured, name) -> list[Any]:
    """The runs of one framework, in the order of their seeds."""
    return records.find_runs(measured[0] / name)


def test_a_framework_that_agrees_is_timed_once_per_seed(measured):
    runs = runs_of(measured, "numpy")
    assert [run.config["seed"] for run in runs] == [0, 1]
    for run in runs:
        result = run.outcome
        assert result.status == "completed"
        assert result.measurements["gradient_error"] < 1e-5
        assert result.measurements["repeatable"] == 1
        assert 0.5 < result.test_accuracy <= 1
        assert result.seconds.compile == 0
        assert result.images_per_s == pytest.approx(2 * 20 * 64 / result.seconds.train)
        assert result.seconds.total > result.seconds.train
        assert result.num_parameters == 13_706
        assert result.measurements["load_average"] >= 0
        threads = result.provenance["threads"]
        assert threads["num_threads"] == 1
        assert threads["OMP_NUM_THREADS"] == "1"
        assert len(threads.get("processors", [0])) == 1
        assert set(result.provenance["framework_versions"]) == {"numpy"}
    first, second = (run.outcome.measurements for run in runs)
    assert first["compile_s"] is None
    assert first["first_step_s"] > 0
    assert 20 < first["peak_mib"] < 2000
    assert not {"compile_s", "first_step_s", "peak_mib"} & second.keys()
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
    assert timed == ["timing: numpy, reference, seed 0", "timing: numpy, reference, seed 1"]
    for run in runs_of(measured, "numpy"):
        assert run.outcome.provenance["commit"] == "abc"
    names = ["numpy", "jax_im2col"]
    config = ComparisonConfig(seeds=3, frameworks=tuple(names), small=False)
    plans = compare.plan_rounds(config, num_threads=1)
    assert [[m.framework for m in plan] for plan in plans] == [names, names[::-1], names]


def test_the_runs_are_a_study_that_the_ordinary_reader_reads(measured):
    (study,) = read_studies(measured[0])
    assert (study.name, study.axis) == ("frameworks", "framework")
    assert [arm.name for arm in study.arms] == ["numpy", *WRONG, "absent"]
    assert {name: len(arm.completed) for arm in study.arms for name in [arm.name]}["numpy"] == 2
    statuses = {status.status for status in read_status(measured[0])}
    assert statuses == {"completed", "failed"}


def test_a_second_launch_measures_only_what_is_missing(here, tmp_path, monkeypatch):
    monkeypatch.setattr(process, "Process", here)
    lines = []

    def launch(commit="abc", **settings):
        lines.clear()
        config = ComparisonConfig(out=str(tmp_path), frameworks=("numpy",), small=False, num_threads=1)
        config = replace(config, process_per_seed=True)
        defaults = {"seeds": 1, "training": Duration(1, 64)}
        compare.compare(replace(config, **(defaults | settings)), {"commit": commit}, lines.append)
        return [run.outcome for run in records.find_runs(tmp_path)]

    first = launch()
    assert len(lines) == 3  # the reference, parity, one round
    assert launch() == first
    assert lines == []
    more = launch(seeds=2)
    assert more[0] == first[0]
    assert len(more) == 2
    assert lines == ["timing: numpy, reference, seed 1"]
    for key in ("gradient_error", "loss_error", "repeatable"):
        assert more[1].measurements[key] == first[0].measurements[key]
    launch("def", seeds=3)
    assert [line.split(":")[0] for line in lines] == ["reference", "parity", "timing"]  # of other code
    with pytest.raises(ValueError, match="holds a comparison with other settings"):
        launch(training=Duration(2, 64))
    (tmp_path / "numpy" / "0" / "result.json").write_text("{}")
    with pytest.raises(ValueError, match=r"result\.json is damaged"):
        launch()


def test_one_process_for_all_seeds_ends_in_the_same_bits_as_one_for_each(workplace, task):
    with workplace.start("timing", "numpy", task) as process:
        first, second = process.measure(0), process.measure(1)
    alone = workplace.run("timing", "numpy", task, seed=1)
    assert second["parameters_sha256"] == alone["parameters_sha256"] != first["parameters_sha256"]
    assert second["accuracy"] == alone["accuracy"]
    assert alone.keys() - second.keys() == {"compile_s", "first_step_s", "peak_mib"}


def test_networks_of_the_second_table(here, workplace, task, monkeypatch):
    monkeypatch.setattr(process, "Process", here)
    large = replace(task, model="mlp", model_arguments={"hidden": [512, 512, 512]})
    outcome = workplace.run("timing", "jax_im2col", large)
    assert outcome["num_parameters"] == 64 * 512 + 2 * 512 * 512 + 512 * 10 + 3 * 512 + 10
    assert outcome["compile_s"] > 0
    assert outcome["accuracy"] > 0.5


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"frameworks": ["theano"]}, "frameworks=theano is not allowed; give one of .*torch_channels_last"),
        ({"optimizer": "lion"}, "optimizer=lion is not allowed; give one of adam, momentum, sgd"),
        ({"training": {"epochs": 1, "batch_size": 5000}}, "batch_size=5000; allowed: 1 to 1294 for digits"),
        ({"training": {"epochs": 0}}, "epochs=0 is not allowed; give a whole number, at least 1"),
        ({"seeds": 0}, "seeds=0 is not allowed; give a whole number, at least 1"),
        ({"num_threads": 10_000, "training": {"batch_size": 8}}, "num_threads=10000; allowed: 1 to"),
    ],
)
def test_what_cannot_be_is_an_error_before_anything_is_run(wrong, message, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ValueError, match=message):
        compare.compare(construct(ComparisonConfig, {"out": str(out), **wrong}), {}, lambda line: None)
    assert not out.exists()


def test_a_missing_framework_names_the_command():
    entry = Entry("x:Y", ("no_such_package",))
    assert not entry.is_installed
    assert entry.install == "pip install no_such_package"


def test_this_process_keeps_its_processors(workplace, task):
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system cannot pin processes to processors")
    before = os.sched_getaffinity(0)
    workplace.run("parity", "numpy", task)
    assert os.sched_getaffinity(0) == before
