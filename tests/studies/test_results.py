import itertools

import numpy as np
import pytest
from scipy import stats

from research.records import RecordError, read_run, write_config, write_result
from research.studies.findings import findings
from research.studies.report import section
from research.studies.report.table import explain_contrasts, results_table, trial_table, unfinished_table
from research.studies.report.write import write_report
from research.studies.results import read_studies


def arms_of(study):
    return {arm.name: arm for arm in study.arms}


def test_a_planned_study(depth_study):
    (study,) = read_studies(depth_study)
    assert (study.title, study.axis, study.reference) == ("depth", "model.depth", "depth 2")
    assert [arm.name for arm in study.arms] == ["depth 1", "depth 2", "depth 3"]
    arm = study.arms[2]
    assert (arm.summary.n, arm.num_parameters, arm.setting("model.depth")) == (8, 86_010, 3)
    assert arm.summary.mean == pytest.approx(np.mean(list(arm.accuracies.values())))
    assert max(arm.seconds("compile")) == 2.5
    assert not arm.not_completed


def test_contrasts_are_paired_by_seed(depth_study):
    (study,) = read_studies(depth_study)
    assert list(study.contrasts) == ["depth 1", "depth 3"]
    arms = arms_of(study)
    differences = [arms["depth 3"].accuracies[seed] - arms["depth 2"].accuracies[seed] for seed in range(8)]
    contrast = study.contrasts["depth 3"]
    assert contrast.difference.mean == pytest.approx(np.mean(differences))
    assert (contrast.verdict, study.contrasts["depth 1"].verdict) == ("higher", "lower")
    assert contrast.p_adjusted == pytest.approx(2 * 2.0**-7)


def test_what_changes_no_number_splits_no_study(tmp_path, write, make_plan):
    for seed in range(2):
        write(tmp_path / f"{seed}", make_plan("depth 1"), seed)
        written = read_run(tmp_path / f"{seed}")
        config, result = written.config, written.result
        assert result is not None
        config["training"]["runs_per_program"] = config["training"]["keep_checkpoints"] = 1 + seed
        config["distributed"] = {"coordinator": f"host:{seed}"}
        write_config(tmp_path / f"{seed}", config)
        write_result(tmp_path / f"{seed}", result)
    (study,) = read_studies(tmp_path)
    assert study.title == "depth"


def test_every_run_that_did_not_complete_is_counted(tmp_path, write, make_plan):
    write(tmp_path / "a", make_plan("depth 1"), 0)
    write(tmp_path / "b", make_plan("depth 1"), 1, status="diverged", error="loss is nan at step 7")
    write(tmp_path / "c", make_plan("depth 2"), 0, status="failed", error="boom")
    write(tmp_path / "d", make_plan("depth 2"), 2, finished=False)
    (study,) = read_studies(tmp_path)
    arms = arms_of(study)
    assert arms["depth 1"].not_completed == {"diverged": 1, "missing": 1}
    assert arms["depth 1"].absent == (2,)
    assert arms["depth 2"].not_completed == {"failed": 1, "missing": 2}
    assert arms["depth 3"].not_completed == {"missing": 3}
    assert np.isnan(arms["depth 3"].summary.mean)
    assert arms["depth 3"].num_parameters is None
    assert study.contrasts["depth 1"].difference.n == 0
    assert study.contrasts["depth 1"].verdict == "descriptive only"


def test_arms_with_no_run_count_among_the_planned_contrasts(tmp_path, write, make_plan):
    arms = ["depth 1", "depth 2", *(f"depth {i}" for i in range(3, 9))]
    for seed in range(8):
        for depth in (1, 2):
            write(tmp_path / f"{depth}-{seed}", make_plan(f"depth {depth}", arms), seed, 0.8 + 0.05 * depth)
    (study,) = read_studies(tmp_path)
    assert study.contrasts["depth 1"].p_adjusted == pytest.approx(7 * 2.0**-7)
    assert study.contrasts["depth 1"].verdict == "descriptive only"


def test_an_arm_that_no_plan_names_is_shown_but_not_judged(tmp_path, write, make_plan):
    for depth in (2, 4):
        write(tmp_path / str(depth), make_plan(f"depth {depth}"), 0)
    (study,) = read_studies(tmp_path)
    assert [(arm.name, arm.planned) for arm in study.arms][-1] == ("depth 4", False)
    assert "depth 4" not in study.contrasts


def test_a_repeated_seed_counts_once_the_last_completed(tmp_path, write, make_plan):
    write(tmp_path / "a", make_plan("depth 1"), 0, 0.99, started="2026-01-01")
    write(tmp_path / "b", make_plan("depth 1"), 0, 0.90, started="2026-01-02")
    write(tmp_path / "c", make_plan("depth 1"), 0, status="failed", started="2026-01-03")
    arm = read_studies(tmp_path)[0].arms[0]
    assert arm.accuracies == {0: 0.90}
    assert [run.path.name for run in arm.repeated] == ["c", "a"]


def test_runs_on_two_datasets_are_two_studies(tmp_path, write, make_plan):
    for data in ("digits", "mnist"):
        write(tmp_path / data, make_plan("depth 1"), 0, data=data)
    titles = [study.title for study in read_studies(tmp_path)]
    assert titles == ["depth (data.name=digits)", "depth (data.name=mnist)"]


def test_several_studies_in_one_folder(tmp_path, write, make_plan):
    write(tmp_path / "depth" / "a", make_plan("depth 1"))
    write(tmp_path / "other" / "a", make_plan("arm 1", ["arm 1"], name="other", reference="arm 1"))
    write(tmp_path / "loose", None)
    assert [study.title for study in read_studies(tmp_path)] == ["depth", "other", "runs without a study"]


def test_runs_without_a_study_form_arms_by_what_differs(tmp_path, write):
    for depth in (1, 2):
        for seed in (0, 1):
            model = {"name": "plain", "depth": depth, "width": 32 * depth}
            write(tmp_path / f"{depth}-{seed}", None, seed, model=model)
    (study,) = read_studies(tmp_path)
    assert [(arm.name, arm.summary.n) for arm in study.arms] == [("model.depth=1", 2), ("model.depth=2", 2)]
    assert (study.axis, study.contrasts) == ("model.depth", {})


def test_one_run_alone(tmp_path, write):
    write(tmp_path, None)
    (study,) = read_studies(tmp_path)
    assert [arm.name for arm in study.arms] == ["all runs"]


def test_no_runs(tmp_path):
    with pytest.raises(ValueError, match="holds no run"):
        read_studies(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_studies(tmp_path / "nowhere")


def test_trials_are_in_no_arm_and_stand_in_a_table(tmp_path, write, make_plan):
    arms = ["depth 1", "depth 2"]
    for arm, rates in (("depth 1", (0.001, 0.01)), ("depth 2", (0.001, 0.01))):
        for rate in rates:
            trial = write(tmp_path / f"{arm}{rate}", make_plan(arm, arms, trial=True), 1000, 0.5 + 10 * rate)
            run = read_run(trial)
            assert run.result is not None
            optimizer = {**run.config["optimizer"], "learning_rate": rate}
            write_config(trial, run.config | {"optimizer": optimizer})
            write_result(trial, run.result)
        for seed in range(2):
            write(tmp_path / f"{arm}{seed}", make_plan(arm, arms, trial=False), seed, 0.9)
    (study,) = read_studies(tmp_path)
    assert [len(arm.runs) for arm in study.arms] == [2, 2]
    assert {arm.absent for arm in study.arms} == {()}
    rows = trial_table(study).rows
    assert [row[:2] for row in rows] == [
        ("depth 1", "0.001"),
        ("depth 1", "0.01"),
        ("depth 2", "0.001"),
        ("depth 2", "0.01"),
    ]
    assert [row[-1] for row in rows] == ["yes", "", "yes", ""]
    assert rows[1][3:6] == ("1000", "60.00", "1 completed")


def test_a_study_that_ended_among_its_trials_shows_them(tmp_path, write, make_plan):
    write(tmp_path / "trial", make_plan("depth 1", trial=True), 1000, 0.5)
    (study,) = read_studies(tmp_path)
    assert [arm.summary.n for arm in study.arms] == [0, 0, 0]
    assert len(trial_table(study).rows) == 1
    write_report(tmp_path)


def test_runs_of_data_that_changed_are_not_compared(tmp_path, write, make_plan):
    write(tmp_path / "a", make_plan("depth 1"), 0)
    write(tmp_path / "b", make_plan("depth 2"), 0, checksum="beef")
    with pytest.raises(RecordError, match=r"/a and .*/b cannot be compared: the data changed between them"):
        read_studies(tmp_path)
    write(tmp_path / "b", make_plan("depth 2"), 0, checksum="beef", data="mnist")
    assert read_studies(tmp_path)


def test_a_run_that_was_continued_is_never_compared_with_as_many_epochs_at_once(tmp_path, write, make_plan):
    for seed in range(2):
        for depth in (1, 2):
            folder = write(tmp_path / f"{depth} {seed}", make_plan(f"depth {depth}"), seed)
            run = read_run(folder)
            assert run.result is not None
            run.config["training"]["continued_from"] = [20] if depth == 1 else None
            write_config(folder, run.config)
            write_result(folder, run.result)
    studies = read_studies(tmp_path)
    assert [study.title for study in studies] == [
        "depth (training.continued_from=[20])",
        "depth (training.continued_from=null)",
    ]
    assert [arm.name for study in studies for arm in study.arms if arm.runs] == ["depth 1", "depth 2"]


def test_folds_are_compared_in_pairs_with_the_corrected_test(tmp_path, write, make_plan, monkeypatch):
    sizes = {"num_train": 80, "num_test": 20}
    accuracies = {"depth 1": [0.80, 0.84, 0.79, 0.83, 0.82], "depth 2": [0.90, 0.95, 0.91, 0.92, 0.93]}
    for arm, values in accuracies.items():
        for fold, accuracy in enumerate(values):
            if (arm, fold) != ("depth 1", 4):
                keys = {"folds": 5, "fold": fold}
                write(tmp_path / f"{arm}-{fold}", make_plan(arm), 0, accuracy, measurements=sizes, **keys)
    (study,) = read_studies(tmp_path)
    assert (study.replicates, study.overlap) == ("folds", 0.25)
    first, second, _ = study.arms
    assert (second.accuracies[0, 3], first.absent) == (0.92, ((0, 4),))
    contrast = study.contrasts["depth 1"]
    d = np.array([0.80 - 0.90, 0.84 - 0.95, 0.79 - 0.91, 0.83 - 0.92])
    t = abs(d.mean()) / np.sqrt((1 / 4 + 0.25) * d.var(ddof=1))
    assert contrast.p == pytest.approx(2 * stats.t.sf(t, df=3))
    assert contrast.verdict == "lower"
    half = stats.t.ppf(0.975, 4) * np.std(accuracies["depth 2"], ddof=1) * np.sqrt(1 / 5 + 0.25)
    assert second.summary.high - second.summary.mean == pytest.approx(half)
    assert "over 4 folds." in findings(study)[0]
    assert "corrected resampled t test (Nadeau and Bengio, 2003)" in explain_contrasts(study)
    assert unfinished_table(study, tmp_path).rows[-1][1].startswith("0 (fold 0), 0 (fold 1)")
    row = results_table([study], tmp_path).rows[1]
    assert row[2:5] == ("0", "1", "completed")
    monkeypatch.setattr(section, "FIGURES", {})
    (made,) = section.make_sections([study], tmp_path, tmp_path / "report")
    assert "3 arms, 1 seed, 5 folds; 15 runs: 9 completed, 6 missing." in made.plan
    notes = [part.note for part in made.results if part.heading == "Arms"]
    assert notes == [section.FOLDS_NOTE]


def test_folds_that_follow_the_time_are_described(tmp_path, write, make_plan):
    for arm, accuracy in (("depth 1", 0.8), ("depth 2", 0.9)):
        for fold in range(3):
            keys = {"folds": 3, "fold": fold, "time": "day"}
            sizes = {"num_train": 20 * (fold + 1), "num_test": 20}
            write(tmp_path / f"{arm}-{fold}", make_plan(arm), 0, accuracy, measurements=sizes, **keys)
    (study,) = read_studies(tmp_path)
    assert study.contrasts["depth 1"].verdict == "descriptive only"
    assert findings(study)[0].startswith("The folds follow the time")


@pytest.mark.parametrize(("tuned", "complete"), [(True, 2), (False, 1)])
def test_rates_that_trials_chose_for_each_size_split_no_study(tmp_path, write, make_plan, tuned, complete):
    arms, changes = ["depth 1", "depth 2"], {"tuning": {"seeds": [1000]}} if tuned else {}
    for size, arm, seed in itertools.product((50, 250), arms, range(2)):
        rate = 0.0003 if (size, arm) == (50, "depth 2") else 0.001
        plan = make_plan(arm, arms, **changes)
        write(tmp_path / f"{size}-{arm}-{seed}", plan, seed, learning_rate=rate, train_limit=size)
    studies = read_studies(tmp_path)
    assert sum(all(arm.summary.n == 2 for arm in study.arms) for study in studies) == complete
    assert len(studies) == (2 if tuned else 3)


def test_the_arm_without_a_start_is_in_the_study_of_its_dataset(tmp_path, write, make_plan):
    arms = ["depth 1", "depth 2"]  # depth 2 starts from an earlier run
    for data, seed in itertools.product(("mnist", "cifar10"), range(2)):
        start = str(
            write(tmp_path / f"{data}-{seed}", make_plan("depth 2", arms, stage="first"), seed, data=data)
        )
        for arm, init_from in (("depth 1", None), ("depth 2", start)):
            folder = tmp_path / f"{data}-{arm}-{seed}"
            write(folder, make_plan(arm, arms), seed, data=data, init_from=init_from)
    studies = read_studies(tmp_path)
    assert [study.title for study in studies] == [f"depth (data.name={n})" for n in ("cifar10", "mnist")]
    assert all(arm.summary.n == 2 for study in studies for arm in study.arms)
