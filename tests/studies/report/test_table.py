import csv
import dataclasses
import io
import math

import pytest

from research.records import RunResult, read_run, write_result
from research.studies.report.table import (
    Table,
    arm_table,
    balanced_table,
    class_table,
    commands,
    contrast_table,
    difference_table,
    explain_contrasts,
    percent,
    provenance_table,
    results_table,
    shared_table,
    unfinished_table,
)
from research.studies.report.write import to_csv
from research.studies.results import StudyResults, read_studies


def as_dicts(table: Table) -> list[dict[str, str]]:
    return [dict(zip(table.headers, row, strict=True)) for row in table.rows]


def facts(table: Table) -> dict[str, str]:
    return {row[0]: row[1] for row in table.rows}


def test_table_of_arms(depth_study):
    (study,) = read_studies(depth_study)
    row = as_dicts(arm_table(study.arms))[1]
    summary = study.arms[1].summary
    assert row["arm"] == "depth 2"
    assert row["test accuracy (%)"] == f"{100 * summary.mean:.2f} ± {100 * summary.deviation:.2f}"
    assert row["95 % interval"] == f"[{100 * summary.low:.2f}, {100 * summary.high:.2f}]"
    assert (row["n"], row["parameters"], row["train (s)"]) == ("8", "51,010", "6.3")
    assert (row["compile (s)"], row["not completed"]) == ("2.5", "0")


def test_plain_text_is_aligned(depth_study):
    (study,) = read_studies(depth_study)
    lines = str(arm_table(study.arms)).splitlines()
    assert len(lines) == 5
    assert len({len(line) for line in lines}) == 1
    assert lines[2].startswith("depth 1")
    assert str(Table(("a", "bb"), [])) == "a  bb\n-  --"


def test_table_of_contrasts(depth_study):
    (study,) = read_studies(depth_study)
    row = as_dicts(contrast_table(study))[1]
    assert (row["arm"], row["pairs"], row["p"], row["p (Holm)"]) == ("depth 3", "8", "0.0078", "0.0156")
    assert row["difference (points)"].startswith("+1.7")
    assert row["verdict"] == "higher"
    assert "paired by seed" in explain_contrasts(study)


def test_too_few_seeds_are_said_to_be_too_few(tmp_path, write, make_plan):
    for depth in (1, 2, 3):
        for seed in range(5):
            write(tmp_path / f"{depth}{seed}", make_plan(f"depth {depth}"), seed, 0.8 + 0.05 * depth)
    (study,) = read_studies(tmp_path)
    assert {row["verdict"] for row in as_dicts(contrast_table(study))} == {"descriptive only"}
    assert "2 contrasts need at least 7 before" in explain_contrasts(study)


@pytest.mark.parametrize(("reference", "text"), [(None, "No reference arm"), ("a", "no other planned arm")])
def test_without_contrasts_the_reason_is_given(reference, text):
    assert text in explain_contrasts(StudyResults("s", (), reference=reference))


def test_unfinished_runs_with_reason_and_folder(tmp_path, write, make_plan):
    write(
        tmp_path / "a", make_plan("depth 1"), 0, status="failed", error="ValueError: boom", started="2026-01"
    )
    write(tmp_path / "b", make_plan("depth 1"), 0, started="2026-02")
    write(tmp_path / "c", make_plan("depth 2"), 0, finished=False)
    (study,) = read_studies(tmp_path)
    rows = unfinished_table(study, tmp_path).rows
    assert rows[0] == (
        "depth 1",
        "0",
        "failed",
        "repeated: another run of this seed counts. ValueError: boom",
        "a",
    )
    assert rows[1][2:] == ("missing", "no result.json: it was interrupted or is still running", "c")
    assert rows[2] == ("depth 3", "0", "missing", "never started: there is no folder", "—")


def test_a_failed_run_may_hold_nothing_but_its_error(tmp_path, write, make_plan):
    folder = write(tmp_path, make_plan("depth 1"), 0, finished=False)
    write_result(folder, RunResult("failed", "boom"))
    (study,) = read_studies(tmp_path)
    assert unfinished_table(study, tmp_path).rows[0][3] == "boom"
    assert as_dicts(provenance_table(study))[-1]["value"] == "0.0 s"
    assert as_dicts(results_table([study], tmp_path))[0]["error"] == "boom"


def test_settings_and_provenance(depth_study):
    (study,) = read_studies(depth_study)
    assert difference_table(study).rows == [("depth 1", "1"), ("depth 2", "2"), ("depth 3", "3")]
    shared = facts(shared_table(study))
    assert shared["optimizer.learning_rate"] == "0.001"
    assert not {"seed", "model.depth", "data.dir"} & shared.keys()
    found = facts(provenance_table(study))
    assert (found["git commit"], found["jax"], found["XLA_FLAGS"]) == ("abc1234", "0.10.1", "none")
    assert found["seeds"] == "0 to 7"
    assert found["started"] == "2026-01-01T00:00:00"
    assert commands(study) == []


def test_facts_that_differ_are_counted(tmp_path, write, make_plan):
    for seed in range(3):
        folder = write(tmp_path / str(seed), make_plan("depth 1"), seed)
        if seed == 2:
            result = read_run(folder).result
            assert result is not None
            provenance = {**result.provenance, "commit": "fff9999"}
            write_result(folder, dataclasses.replace(result, provenance=provenance))
    found = facts(provenance_table(read_studies(tmp_path)[0]))
    assert found["git commit"] == "abc1234 (2 runs); fff9999 (1 run)"


def test_results_hold_every_run_in_full_precision(tmp_path, write, make_plan):
    write(tmp_path / "a", make_plan("depth 1"), 0, 1 / 3)
    write(tmp_path / "b", make_plan("depth 1"), 1, status="diverged", error='said "no",\nthen stopped')
    (study,) = read_studies(tmp_path)
    rows = list(csv.DictReader(io.StringIO(to_csv(results_table([study], tmp_path)))))
    assert float(rows[0]["test_accuracy"]) == 1 / 3
    assert (rows[1]["status"], rows[1]["counted"], rows[1]["test_accuracy"]) == ("diverged", "False", "")
    assert rows[1]["error"] == 'said "no",\nthen stopped'
    assert [row["status"] for row in rows[2:]] == ["missing"] * 4


def test_percent():
    assert (percent(1.0), percent(0.12345), percent(math.nan)) == ("100.00", "12.35", "—")


def test_scores_by_class(depth_study, tmp_path, write):
    rows = as_dicts(class_table(read_studies(depth_study)[0]))
    assert [row["class"] for row in rows] == [str(i) for i in range(10)]
    assert all(90 < float(row["F1 (%)"]) <= 100 for row in rows)
    write(tmp_path, None)
    assert not class_table(read_studies(tmp_path)[0])


def test_balanced_scores_are_shown_where_they_say_something(tmp_path, write, make_plan):
    for seed in range(6):
        for depth, balanced in ((1, 0.5 + 0.01 * seed), (2, 0.8)):
            scores = {"test_balanced_accuracy": balanced, "test_macro_f1": 0.7}
            write(tmp_path / f"{depth}-{seed}", make_plan(f"depth {depth}"), seed, 0.9, measurements=scores)
    first, second, third = balanced_table(read_studies(tmp_path)[0]).rows
    assert first[:3] == ("depth 1", "6", "52.50 ± 1.87")
    assert first[3].startswith("-27.50 [")
    assert second[1:] == ("6", "80.00 ± 0.00", "—", "—", "70.00 ± 0.00")
    assert third[1] == "0"
    usual = write(tmp_path / "usual", None, 0, 0.9, measurements={"test_balanced_accuracy": 0.9})
    assert not balanced_table(read_studies(usual)[0])
