"""A study whose last stage makes files of the networks of its earlier stages."""

import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from research.config import Config, ConfigError
from research.deploy import compress as deploy
from research.deploy.formats import load_onnx
from research.records import find_runs
from research.runs.load import load_data, load_trained
from research.studies import Study
from research.studies.report.table import file_table
from research.sweeps.tuning import start_at

SMALL = {"model": "tiny", "training": {"epochs": 1, "xla_optimization_level": 0}, "data.train_limit": 64}
STAGES = [
    {"name": "one"},
    {"name": "two", "only": ["pair"], "runs": 2},
    {"name": "files", "do": "compress", "forms": {"int8": "int8"}},
]


def make_study(stages=STAGES, **changes) -> Study:
    arms = {"float32": {}, "int8": {}, "pair": {}}
    return Study(
        "files", **({"arms": arms, "reference": "float32", "base": SMALL, "stages": stages} | changes)
    )


@pytest.fixture(scope="module")
def launches(tmp_path_factory):
    """The study after a launch without a package and after one with all packages: outcome and output."""
    folder, outcomes = tmp_path_factory.mktemp("study"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deploy, "median_milliseconds", lambda call: float(len(call())))
        for find_spec in (lambda name: None, deploy.find_spec):
            patch.setattr(deploy, "find_spec", find_spec)
            output = io.StringIO()
            outcome = make_study().run([3], folder, console=Console(file=output, width=200))
            outcomes.append((outcome, output.getvalue()))
    return outcomes


def test_a_file_has_the_accuracy_of_onnx_runtime_and_its_size_and_time(launches):
    (outcome, _) = launches[1]
    for arm in outcome.results.arms:
        (run,) = arm.runs
        (path,) = run.path.glob("*.onnx")
        network = run.config["study"]["compress"]["runs"][0]
        trained, test = load_trained(network), load_data(network).test
        logits = load_onnx(path.read_bytes(), trained)(np.asarray(test.images))
        assert run.outcome.test_accuracy == (logits.argmax(-1) == test.labels).mean()
        measured = {"file_bytes": path.stat().st_size, "milliseconds_1": 1, "milliseconds_64": 64}
        assert run.outcome.measurements == measured
        assert path.name == f"model_{'int8' if arm.name == 'int8' else 'float32'}.onnx"
    sizes = {arm.name: arm.num_parameters for arm in outcome.results.arms}
    assert sizes["pair"] == 2 * sizes["float32"]
    rows = {row[0]: row for row in file_table(outcome.results).rows}
    assert float(rows["int8"][4]) < float(rows["float32"][4])
    assert rows["pair"][-2:] == ("1.000", "64.000")


def test_without_a_package_the_networks_are_trained_and_the_next_launch_makes_the_files(launches):
    (before, said), (after, said_again) = launches
    assert "ConfigError: compress needs jax2onnx, onnx, onnxruntime: pip install" in said
    assert [row["not_completed"] for row in before.arms().to_dicts()] == [{"failed": 1}] * 3
    assert "1 of 1 runs are done already\n2 of 2 runs are done already\n[1/3] float32" in said_again
    assert [row["n"] for row in after.arms().to_dicts()] == [1, 1, 1]
    trained = {run.path: run for run in after.results.earlier}
    assert {run.path.parent.name for run in find_runs(after.folder)} == {"one", "two", after.folder.name}
    pair = next(arm for arm in after.results.arms if arm.name == "pair").runs[0]
    members = [trained[Path(path)].config for path in pair.config["study"]["compress"]["runs"]]
    assert [(config["seed"], config["study"]["seed"]) for config in members] == [(4000, 3), (4001, 3)]


def test_the_report_shows_the_files(launches):
    after = launches[1][0]
    report = after.report().read_text()
    assert "### Size and time of the files" in report
    assert "missing" not in report
    assert "| runs of the earlier stages | cpu: " in report
    axes = after.figure("cost").axes
    assert [panel.get_xlabel() for panel in axes[:2]] == [
        "time of the file for 64 images (ms, median)",
        "size of the file (MB)",
    ]


def test_no_two_ensembles_share_a_run_and_every_arm_has_its_networks():
    study = Study.from_conf("compression")
    runs = [study.staged_run("ensemble of 5 small", seed).runs("members") for seed in range(9)]
    seeds = [config.seed for members in runs for config in members]
    assert len(set(seeds)) == 45
    networks = {arm: study.staged_run(arm, 2).starts["files"] for arm in study.arms}
    assert {arm for arm, stage in networks.items() if stage == "large"} == {
        *("float32", "bfloat16", "int8", "int8 weights")
    }
    pruned = study.staged_run("pruned 95%", 2).configs["pruned"].training
    assert (pruned.prune.amount, pruned.prune.by, pruned.epochs) == (0.95, "channel", 2)
    compress = study.staged_run("int8", 2).configs["files"].compress
    assert compress is not None
    assert compress.form == "int8"
    small, distilled = (
        study.staged_run(arm, 2).configs["files"].model.name for arm in ("small", "distilled")
    )
    assert small == distilled == "tiny"


def test_the_loss_distillation_has_the_earlier_run_as_its_teacher():
    config = Config.from_dict({"loss": "distillation"})
    found = start_at(config, {Path("large"): Config.from_dict({})})
    assert (found.teacher, found.init_from.run) == ("large", None)


@pytest.mark.parametrize(
    ("stages", "error"),
    [
        ([STAGES[2], STAGES[0]], "stages.files.do=compress is not allowed before the last stage; give train"),
        ([STAGES[2]], "stages.files.do=compress is not allowed, because float32 has no earlier stage"),
        ([STAGES[0], STAGES[2] | {"do": "prune"}], "do=prune is not allowed; give one of compress, train"),
        ([STAGES[0], STAGES[2] | {"base": SMALL}], "base is not allowed with do=compress; leave it out"),
        (
            [STAGES[0], STAGES[2] | {"forms": {"a": "int4"}}],
            "is not allowed; give a mapping from arms to one",
        ),
        ([STAGES[0], STAGES[2] | {"forms": {"a": "int8"}}], "files names a, which is no arm of the study"),
        ([STAGES[0] | {"forms": {"int8": "int8"}}], "stages.one.forms is not allowed with do=train"),
        ([STAGES[0] | {"runs": 2}], "stages.one.runs is not allowed in the last stage"),
        ([STAGES[0] | {"runs": 0}], "runs=0 is not allowed; give a whole number"),
        (
            [*STAGES[:2], {"name": "x", "from": "two"}],
            "from=two is not allowed, because two has several runs",
        ),
        (
            [STAGES[0], STAGES[1] | {"runs": 1}, {"name": "x", "from": "two"}],
            "stages.x.from=two is no stage of the arm float32",
        ),
    ],
)
def test_a_stage_that_cannot_run_is_refused(stages, error):
    with pytest.raises(ConfigError, match=error):
        make_study(stages)


def test_trials_of_a_stage_that_trains_nothing_are_refused():
    with pytest.raises(
        ConfigError, match=r"files\.do=compress is not allowed, because study\.tuning is given"
    ):
        make_study(tuning={"seeds": [1000], "learning_rate": [1, 3]})
