"""A study from Python and from the command line: one plan, one set of records."""

import io
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import yaml
from matplotlib.figure import Figure
from rich.console import Console

import research
from research.config import ConfigError
from research.records import find_runs, read_run
from research.studies import Study, read_study, study_names
from research.studies.findings import too_few_seeds
from research.studies.hydra_node import hydra_text, make_hydra_node
from research.studies.stages import staged_run_of_job
from research.studies.study import STUDIES
from research.sweeps.stages import StagedSweep

SMALL = {
    "model": "tiny",
    "training": {"epochs": 1, "xla_optimization_level": 0},
    "data.train_limit": 128,
}
STAGES = [
    {"name": "pretrain", "base": {"data.split_seed": 1}},
    {"name": "finetune", "from": "pretrain", "base": {"optimizer.learning_rate": 0.001}},
]


def make_study(**changes) -> Study:
    values = {"axis": "model.activation", "arms": ["relu", "tanh"], "reference": "relu", "base": SMALL}
    return Study("activation", **(values | changes))


def run(study: Study, folder: Path, seeds: Iterable[int] = range(2)):
    output = io.StringIO()
    return study.run(seeds, folder, console=Console(file=output, width=200)), output.getvalue()


def test_a_bare_name_a_dotted_key_and_a_nested_one_are_the_same():
    nested = {"model": {"name": "tiny"}, "training": {"epochs": 1}}
    dotted = {"model": "tiny", "training.epochs": 1}
    first, second = (make_study(base=base).config("tanh", 3) for base in (nested, dotted))
    assert first == second
    assert (first.model.arguments["activation"], first.seed) == ("tanh", 3)


def test_arms_by_value_have_names_and_the_reference_may_be_a_value():
    study = Study("depth", axis="model.depth", arms=[1, 2], reference=1)
    assert list(study.arms) == ["depth 1", "depth 2"]
    assert study.reference == "depth 1"
    assert make_study(axis="model", arms=["mlp", "tiny"], reference="mlp", base={}).axis == "model"


def test_an_arm_may_have_several_overrides_or_none():
    arms = {"plain": None, "normalised": {"model.norm": "batch", "optimizer": {"learning_rate": 0.01}}}
    study = Study("norm", arms=arms, reference="plain")
    assert study.config("plain", 0).model.arguments["norm"] == "none"
    config = study.config("normalised", 0)
    assert config.model.arguments["norm"] == "batch"
    assert config.optimizer.arguments["learning_rate"] == 0.01


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference": "elu"}, "reference=elu is not allowed; give one of relu, tanh"),
        ({"arms": "relu"}, "arms=relu is not allowed; give a list of values of the axis, or a mapping"),
        ({"arms": []}, "arms is empty"),
        ({"arms": ["relu", "relu"]}, "give each value once"),
        ({"arms": [[1], [2]]}, r"arms=\[1\] is not allowed in a list of arms"),
        ({"axis": None}, "axis is missing"),
        ({"arms": ["relu", "rilu"]}, "model.activation=rilu is not allowed; give one of"),
        ({"base": {"modell": "tiny"}}, "there is no key base.modell; allowed: model, optimizer"),
        ({"base": {"model": "tinny"}}, "model.name=tinny is not allowed; give one of"),
        ({"base": {"seed": 1}}, "base.seed is not allowed: the seeds are given when the study runs"),
        ({"base": ["model"]}, "base=.* is not allowed; give a mapping"),
        ({"base": {"training": 1, "training.epochs": 2}}, "training.epochs is not allowed beside training"),
        ({"tuning": {"seed": [1]}}, "there is no key study.tuning.seed; allowed: seeds"),
        ({"stages": {"name": "a"}}, "stages=.* is not allowed; give a list of mappings"),
        (
            {"stages": [{"name": "a", "start": "b"}]},
            "there is no key stages.start; allowed: name, do, base",
        ),
        ({"stages": [{"name": "a", "from": "b"}]}, "stages.a.from=b is not allowed; give null"),
        ({"stages": [{"name": "a"}, {"name": "a"}]}, "stages.name=a is not allowed twice"),
        ({"stages": [{"name": "a/b"}]}, "stages.name=a/b is not allowed"),
        ({"stages": [{"name": "a", "arms": 1}]}, "stages.a.arms=1 is not allowed; give true or false"),
        ({"stages": [{"name": "a\0"}]}, "give a text that can name a folder"),
        ({"stages": [{"name": "a"}, {"name": "b", "from": ["a"]}]}, "is not allowed; give one of a"),
        ({"reference": np.array([1, 2])}, "is not allowed; give one of relu, tanh"),
        ({"arms": {"": {}, "b": {}}}, "arms.'' is not allowed; give each arm a text of one line"),
        ({"arms": {1: {}, "1": {}}}, "arms.1 is not allowed; give each arm a text of one line"),
        ({"base": {"model": "tiny", "model.name": "mlp"}}, "base.model.name is given twice; give it once"),
        ({"base": {"training.epochs": 1, "training": {"epochs": 2}}}, "base.training.epochs is given twice"),
        ({"tuning": {"seeds": []}}, r"study.tuning.seeds=\[\] is not allowed; give at least one number"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(changes, message):
    with pytest.raises(ConfigError, match=message) as caught:
        make_study(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ([], "seeds is empty; give at least one seed"),
        ([-1], "seed=-1 is not allowed; give a whole number"),
    ],
)
def test_seeds_that_are_none_are_refused_before_anything_is_written(seeds, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        make_study().run(seeds, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(ConfigError, match=r"folder=.*file cannot be written: File exists; give another"):
        make_study().run([0], tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"


def test_a_stage_of_another_network_is_refused_before_anything_runs(tmp_path):
    study = make_study(
        stages=[{"name": "first", "base": {"model": "mlp"}}, {"name": "last", "from": "first"}]
    )
    with pytest.raises(ConfigError, match=r"stages.last.from=first is not allowed: .* is float32 \(.*\) in"):
        study.run([0], tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_numbers_of_numpy_are_numbers():
    study = make_study(axis="optimizer.learning_rate", arms=np.array([0.1, 0.2]), reference=np.float64(0.1))
    assert list(study.arms) == ["learning_rate 0.1", "learning_rate 0.2"]
    assert study.reference == "learning_rate 0.1"


def test_a_file_with_an_unknown_key_is_refused(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("axis: model.depth\narms: [1, 2]\nreference: 1\n")
    assert Study.from_file(path).name == "own"
    path.write_text("axis: model.depth\narms: [1, 2]\nreference: 1\nquestoin: x\n")
    with pytest.raises(ConfigError, match=r"own\.yaml: there is no key questoin; allowed: name, question,"):
        Study.from_file(path)
    path.write_text("axis: model.depth\narms: [1, 2]\nreference: 1\nbase: &base {model: *base}\n")
    with pytest.raises(ConfigError, match=r"own\.yaml is not allowed: an alias in it refers to itself"):
        Study.from_file(path)
    path.write_text("arms: [")
    with pytest.raises(ConfigError, match=r"own\.yaml is no YAML"):
        Study.from_file(path)
    with pytest.raises(ConfigError, match="study=deep is not allowed; give one of activation, architecture"):
        Study.from_conf("deep")


@pytest.mark.integration
def test_a_study_runs_goes_on_and_shows_what_it_found(tmp_path):
    study = make_study(question="Which?")
    results, said = run(study, tmp_path)
    first, *others = said.splitlines()
    assert first == (
        "This study is descriptive: 1 contrast needs 6 seeds, and there are 2, so no difference is claimed."
    )
    assert [re.sub(r"_\w+  ", " ", line).split(" test")[0] for line in others] == [
        f"[{number}/4] {arm}_seed-{seed} completed "
        for number, (arm, seed) in enumerate([("relu", 0), ("relu", 1), ("tanh", 0), ("tanh", 1)], start=1)
    ]
    assert [row["arm"] for row in results.arms().to_dicts()] == ["relu", "tanh"]
    assert results.arms().to_dicts()[0]["n"] == 2
    (contrast,) = results.contrasts().to_dicts()
    assert (contrast["arm"], contrast["pairs"], contrast["verdict"]) == ("tanh", 2, "descriptive only")
    assert isinstance(results.figure("accuracy"), Figure)
    with pytest.raises(ValueError, match="figure=accurate is not allowed; give one of summary, accuracy"):
        results.figure("accurate")
    assert results.arms()._repr_html_().startswith("<table><tr><th>arm</th>")
    assert "Descriptive only" in results.contrasts()._repr_html_()
    assert str(results.arms()).splitlines()[2].startswith("relu")

    again, said = run(study, tmp_path)
    assert said.splitlines()[1:] == ["4 of 4 runs are done already"]
    assert again.arms().rows == read_study(tmp_path).arms().rows == results.arms().rows
    third, said = run(study, tmp_path, seeds=range(3))
    assert "4 of 6 runs are done already" in said
    assert [row["n"] for row in third.arms().to_dicts()] == [3, 3]
    report = third.report()
    assert report == tmp_path / "report.md"
    assert "This study is descriptive" in report.read_text()


def test_a_failed_run_is_in_the_results_and_the_others_go_on(tmp_path):
    arms = {"small": {}, "wild": {"optimizer": "sgd", "optimizer.learning_rate": 1e30}}
    study = make_study(axis=None, arms=arms, reference="small")
    results, said = run(study, tmp_path, seeds=[0])
    assert "diverged" in said
    assert results.arms().to_dicts()[1]["not_completed"] == {"diverged": 1}


def test_enough_seeds_are_not_spoken_of():
    assert too_few_seeds(len(make_study().arms) - 1, 6) == ""
    num_contrasts = len(Study.from_conf("activation").arms) - 1
    assert "6 contrasts need 8 seeds, and there are 7" in too_few_seeds(num_contrasts, 7)
    assert too_few_seeds(0, 1) == ""


def test_an_arm_starts_from_the_run_of_the_same_seed_in_an_earlier_stage(tmp_path):
    study = make_study(
        axis=None,
        arms={"slow": {}, "fast": {"optimizer.learning_rate": 0.01}, "scratch": {"init_from": None}},
        reference="slow",
        stages=STAGES,
    )
    results, _ = run(study, tmp_path)
    runs = find_runs(tmp_path)
    earlier = {run.path.name: run for run in runs if run.config["study"]["stage"] == "pretrain"}
    assert len(earlier) == 2
    assert {run.path.parent.relative_to(tmp_path) for run in earlier.values()} == {Path("stages/pretrain")}
    compared = [run for run in runs if run.path.name not in earlier]
    assert len(compared) == 6
    for each in compared:
        start = each.config["init_from"]["run"]
        if each.config["study"]["arm"] == "scratch":
            assert start is None
            continue
        before = earlier[Path(start).name].config
        assert (before["seed"], before["data"]["split_seed"]) == (each.config["seed"], 1)
        assert each.config["data"]["split_seed"] == 0
    rates = {run.config["study"]["arm"]: run.config["optimizer"]["learning_rate"] for run in compared}
    assert rates == {"slow": 0.001, "fast": 0.01, "scratch": 0.001}
    assert [row["n"] for row in results.arms().to_dicts()] == [2, 2, 2]
    assert len(results.results.earlier) == 2
    _, said = run(study, tmp_path)
    assert "2 of 2 runs are done already" in said
    assert "6 of 6 runs are done already" in said


def test_the_arms_may_differ_in_an_earlier_stage_too(tmp_path):
    study = make_study(stages=[STAGES[0] | {"arms": True}, STAGES[1]])
    run(study, tmp_path, seeds=[0])
    for each in find_runs(tmp_path):
        if each.config["init_from"]["run"]:
            before = read_run(Path(each.config["init_from"]["run"])).config
            assert before["model"]["activation"] == each.config["model"]["activation"]
            assert before["study"]["arm"] == each.config["study"]["arm"]


def test_a_failed_run_of_an_earlier_stage_is_in_the_report(tmp_path):
    wild = {"name": "pretrain", "base": {"optimizer": "sgd", "optimizer.learning_rate": 1e30}}
    results, said = run(make_study(stages=[wild, STAGES[1]]), tmp_path, seeds=[0])
    assert "diverged" in said
    assert [row["not_completed"] for row in results.arms().to_dicts()] == [{"missing": 1}] * 2
    report = results.report().read_text()
    assert "| stage pretrain | 0 | diverged |" in report
    assert "| relu | 0 | missing |" in report


def test_trials_start_from_the_earlier_stage_of_their_own_seed(tmp_path):
    study = make_study(stages=STAGES, tuning={"seeds": [1000], "learning_rate": [1, 3]})
    results, _ = run(study, tmp_path, seeds=[0])
    runs = find_runs(tmp_path)
    trials = [each for each in runs if each.config["study"]["trial"]]
    assert len(trials) == 4
    for trial in trials:
        assert read_run(Path(trial.config["init_from"]["run"])).config["seed"] == trial.config["seed"] == 1000
    assert len(results.trials().rows) == 4
    assert [row["not_completed"] for row in results.arms().to_dicts()] == [{}, {}]


@pytest.mark.integration
def test_two_pretrainings_in_one_folder_are_two_studies(tmp_path):
    run(make_study(stages=STAGES), tmp_path, seeds=[0])
    other = [STAGES[0] | {"base": {"data.split_seed": 2}}, STAGES[1]]
    results, _ = run(make_study(stages=other), tmp_path, seeds=[0])
    assert results.results.title == "activation"
    text = results.report().read_text()
    assert "## Activation (pretrain: data.split_seed=1)" in text
    assert "## Activation (pretrain: data.split_seed=2)" in text


def test_every_file_is_a_study_with_a_question_that_hydra_can_sweep_over():
    names = study_names()
    assert {"activation", "architecture", "depth", "optimizer", "size"} <= set(names)
    for name in names:
        study = Study.from_conf(name)
        assert study.name == name
        assert study.question.endswith("?")
        seeds = re.search(r"'seed=range\(0,(\d+)\)'", (STUDIES / f"{name}.yaml").read_text())
        assert seeds
        assert too_few_seeds(len(study.arms) - 1, int(seeds[1])) == ""
        node = make_hydra_node(study)
        assert yaml.safe_load(yaml.safe_dump(node)) == node
    assert (Path(research.__file__).parents[1] / "conf" / "study").exists() is False


def test_the_node_of_one_key_sweeps_over_that_key():
    node = make_hydra_node(Study.from_conf("depth"))
    assert node["hydra"]["sweeper"]["params"] == {"model.depth": "1,2,3,4"}
    assert node["study"]["arm"] == "depth ${model.depth}"
    assert node["study"]["arms"] == ["depth 1", "depth 2", "depth 3", "depth 4"]
    node = make_hydra_node(make_study())
    assert node["defaults"] == [{"override /model": "tiny"}]
    assert node["training"] == SMALL["training"]
    assert make_hydra_node(Study.from_conf("size"))["study"]["arm"] == "${hydra:runtime.choices.model}"


def test_the_node_of_several_overrides_sweeps_over_the_arms():
    arms = {"it's plain": {}, "both": {"model": "tiny", "training.epochs": 2}}
    node = make_hydra_node(Study("x", arms=arms, reference="both"))
    assert node["hydra"]["sweeper"]["params"] == {"study.arm": r"'it\'s plain',both"}
    assert node["study"]["overrides"] == {
        "it's plain": {},
        "both": {"model": {"name": "tiny"}, "training": {"epochs": 2}},
    }


def test_a_job_beats_the_overrides_of_a_stage_but_not_those_of_an_arm():
    arms = {"a": {"optimizer": "sgd"}, "b": {"optimizer": "sgd", "optimizer.learning_rate": 0.5}}
    stages = [{"name": "first", "base": {"training.epochs": 5, "data": "mnist"}}, {"name": "second"}]
    study = Study("x", arms=arms, reference="a", stages=stages)
    values = {
        "seed": 4,
        "model": {"name": "plain", "depth": 2},
        "optimizer": {"name": "adam", "b1": 0.9, "learning_rate": 0.003},
        "training": {"epochs": 3},
        "study": make_hydra_node(study)["study"] | {"arm": "b"},
    }
    job = staged_run_of_job(values, {"training.epochs"})
    first, second = job.configs.values()
    assert (first.data.name, second.data.name) == ("mnist", "digits")
    assert first.training.epochs == second.training.epochs == 3
    assert (first.optimizer.name, second.optimizer.name) == ("adam", "sgd")
    assert second.optimizer.arguments["learning_rate"] == 0.5
    assert staged_run_of_job(values).configs["first"].training.epochs == 5
    with pytest.raises(ConfigError, match=r"study\.arm=c is not allowed; give one of a, b"):
        staged_run_of_job(values | {"study": values["study"] | {"arm": "c"}})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (0.001, "0.001"),
        (True, "true"),
        (None, "null"),
        ("true", "'true'"),
        ("3", "'3'"),
        ("a,b", "'a,b'"),
        ("\\'", r"'\\\''"),
        ("a\\b\\", r"'a\b\\'"),
    ],
)
def test_values_are_written_as_hydra_reads_them(value, text):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    assert hydra_text(value) == text
    (override,) = OverridesParser.create().parse_overrides([f"key={text}"])
    assert override.value() == value


def test_the_command_line_changes_no_fixed_key_of_a_stage():
    base = {"data.train_limit": 500, "training.epochs": 4}
    study = make_study(stages=[STAGES[0] | {"base": base, "fixed": ["data.train_limit"]}, STAGES[1]])
    node = make_hydra_node(study)
    values = {"seed": 0, "model": {"name": "tiny"}, "data": {"train_limit": 50}, "training": {"epochs": 2}}
    run = staged_run_of_job(values | {"study": node["study"]}, ["data.train_limit", "training.epochs"])
    sizes = {name: (each.data.train_limit, each.training.epochs) for name, each in run.configs.items()}
    assert sizes == {"pretrain": (500, 2), "finetune": (50, 2)}
    with pytest.raises(ConfigError, match=r"stages.pretrain.fixed=\['seed'\] is not allowed; give a list of"):
        make_study(stages=[STAGES[0] | {"fixed": ["seed"]}, STAGES[1]])


def test_a_stage_with_other_classes_has_a_head_of_its_own():
    stages = [
        {"name": "pretrain", "base": {"data.classes": [0, 1, 2]}},
        {"name": "finetune", "from": "pretrain"},
    ]
    study = make_study(stages=stages)
    StagedSweep().plan(study.staged_run("relu", 0), "nowhere")
    study = make_study(stages=stages, base=SMALL | {"init_from.head": "keep"})
    with pytest.raises(
        ConfigError, match=r"params/logits/bias is float32 \(3,\) in pretrain and float32 \(10,\)"
    ):
        StagedSweep().plan(study.staged_run("relu", 0), "nowhere")


def test_a_study_over_folds(tmp_path):
    output = io.StringIO()
    study = make_study(arms=["relu"], reference="relu")
    results = study.run([0], tmp_path, folds=2, console=Console(file=output, width=200)).results
    assert "descriptive" not in output.getvalue()
    (arm,) = results.arms
    assert (results.replicates, [*arm.accuracies]) == ("folds", [(0, 0), (0, 1)])
    sizes = [run.outcome.measurements for run in arm.completed.values()]
    assert [size["num_test"] for size in sizes] == [898, 899]
    assert arm.overlap == pytest.approx((898 + 899) / (2 * 128))
