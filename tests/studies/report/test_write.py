import csv
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from research.studies.figures import FIGURES
from research.studies.figures.network import shown_run
from research.studies.report import section, text_table
from research.studies.report import write as module
from research.studies.report.markdown import escape
from research.studies.report.table import class_table
from research.studies.report.write import write_report
from research.studies.results import read_studies
from tests.studies.figures.test_figures import FROM_ARRAYS

DEPTHS = ("depth 1", "depth 2")
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write, make_plan) -> Path:
    """Two studies, one with a hostile name, and every way in which a run can end."""
    folder = tmp_path_factory.mktemp("multirun")
    for depth in (1, 2):
        for seed in range(8):
            write(folder / "depth" / f"{depth}{seed}", make_plan(f"depth {depth}"), seed, 0.8 + 0.05 * depth)
    arms = [HOSTILE, "a|b", "![x](y)"]
    for i, arm in enumerate(arms):
        study = make_plan(arm, arms, name=HOSTILE, question=HOSTILE, reference=arms[0], axis="model.name")
        status = ("completed", "failed", "diverged")[i]
        run = folder / HOSTILE.replace("/", "") / str(i)
        write(run, study, status=status, error=f"{HOSTILE} `x` | y", model={"name": arm})
    write_report(folder)
    return folder


def test_markdown(folder):
    text = (folder / "report.md").read_text()
    assert re.findall("^## (.*)", text, re.MULTILINE) == [
        "What was found",
        "Depth",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
    ]
    assert "3 arms, 8 seeds; 24 runs: 16 completed, 8 missing. Reference arm: depth 2." in text
    assert "| depth 3 | 0 | — | — | — | — | — | 8 missing |" in text
    assert "| depth 1 | 8 | -5.00 | [-5.00, -5.00] | 0.0078 | 0.0156 | lower |" in text
    assert "<script" not in text
    found = text.partition("## Depth")[0]
    assert (
        "\n- depth 1 has a lower test accuracy than depth 2: -5.00 points [-5.00, -5.00] over 8 seeds.\n"
        in found
    )
    assert "8 of 24 runs did not complete (8 missing), among them every run of depth 3." in found
    assert r"| a\|b | 0 | failed |" in text
    assert (
        len(
            {
                line.replace(r"\|", "").count("|")
                for line in text.splitlines()
                if line.startswith("| depth 1 | 8")
            }
        )
        == 2
    )


def test_every_figure_that_is_named_is_there(folder):
    figures = re.findall(r"!\[[^]]*\]\(([^)]+)\)", (folder / "report.md").read_text())
    assert len(figures) >= 8
    for name in figures:
        ElementTree.parse(folder / name)
        assert (folder / name).with_suffix(".png").exists()


def test_results_csv(folder):
    lines = (folder / "results.csv").read_text().splitlines()
    assert len(lines) == 1 + 24 + 3


def test_a_folder_without_runs(tmp_path):
    with pytest.raises(ValueError, match="holds no run"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_run_is_named(tmp_path, write):
    run = write(tmp_path / "a", None)
    (run / "result.json").write_text("{")
    with pytest.raises(ValueError, match=r"result\.json is damaged"):
        write_report(tmp_path)


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_several_folders_are_one_report(tmp_path, write, make_plan, monkeypatch):
    monkeypatch.setattr(section, "FIGURES", {})
    monkeypatch.chdir(tmp_path)
    for seed in range(8):
        for depth in (1, 2):
            folder = tmp_path / "multirun" / ("first" if seed < 4 else "second")
            write(folder / f"{depth}{seed}", make_plan(f"depth {depth}", DEPTHS), seed, 0.8 + 0.05 * depth)
    write(
        tmp_path / "multirun" / "first" / "broken",
        make_plan("depth 1", DEPTHS),
        9,
        status="failed",
        error="x",
    )
    write(
        tmp_path / "multirun" / "second" / "broken",
        make_plan("depth 1", DEPTHS),
        8,
        status="failed",
        error="x",
    )
    folders = [Path("multirun/first"), tmp_path / "multirun" / "second", Path("multirun/first/10")]
    report = write_report(folders)
    assert report == Path("multirun/report.md")
    text = report.read_text()
    assert "| depth 1 | 8 | -5.00 | [-5.00, -5.00] | 0.0078 | 0.0078 | lower |" in text
    assert "| depth 1 | 8, 9 | failed | x | . |" in text
    rows = rows_of(Path("multirun/results.csv"))
    assert len(rows) == 18 + 2  # the other arm has no run of the seeds 8 and 9
    assert {row["folder"] for row in rows if row["seed"] in "04"} >= {"first/10", "second/14"}
    assert write_report(folders, tmp_path / "out") == tmp_path / "out" / "report.md"
    assert rows_of(tmp_path / "out" / "results.csv") == rows


def test_runs_without_arrays_have_tables_and_no_figure_that_needs_them(
    tmp_path, write, make_plan, monkeypatch
):
    runs = [
        write(tmp_path / f"{depth}{seed}", make_plan(f"depth {depth}"), seed, arrays=True)
        for depth in (1, 2)
        for seed in range(2)
    ]
    (runs[2] / "arrays.npz").unlink()
    (study,) = read_studies(tmp_path)
    assert class_table(study).rows
    name, arrays = shown_run(study)
    assert (name, "first_kernels" in arrays) == ("depth 2, seed 1", True)
    monkeypatch.setattr(section, "FIGURES", {})
    text = "the 1 of 2 seeds with an arrays.npz of the arm 'depth 2' together"
    assert text in write_report(tmp_path).read_text()
    for run in runs:
        (run / "arrays.npz").unlink(missing_ok=True)
    (study,) = read_studies(tmp_path)
    assert [FIGURES[name](study) for name in FROM_ARRAYS] == [None] * 7
    text = write_report(tmp_path).read_text()
    assert "| depth 1 | 2 | 90.00" in text
    assert "Scores by class" not in text


@pytest.mark.parametrize("damaged", ["depth 2", "depth 1"])  # the figures of one arm show depth 2
def test_a_damaged_file_of_arrays_is_named_before_anything_is_written(tmp_path, write, make_plan, damaged):
    for arm in ("depth 1", "depth 2"):
        write(tmp_path / "runs" / arm, make_plan(arm), arrays=True)
    path = tmp_path / "runs" / damaged / "arrays.npz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"arrays\.npz is damaged"):
        write_report(tmp_path / "runs", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.integration
def test_reports_and_the_status_of_a_sweep_need_no_training_code():
    commands = "research.cli.report, research.cli.sweep_status"
    code = f"import sys, {commands}; print({{'jax', 'optax', 'hydra'}} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_escape():
    assert escape("a\n b") == "a b"
    assert escape("[x](y)") == r"[x]\(y)"


def test_a_long_table_is_cut_and_all_of_it_is_in_a_file(folder, tmp_path, monkeypatch):
    for each in (text_table, module, section):
        monkeypatch.setattr(each, "MOST_ROWS", 1)
    monkeypatch.setattr(section, "MOST_ARMS", 1)
    monkeypatch.setattr(section, "FIGURES", {"accuracy": FIGURES["accuracy"]})
    text = write_report(folder / "depth", tmp_path).read_text()
    rows = (tmp_path / "tables" / "depth" / "arms.csv").read_text().splitlines()
    assert [row.partition(",")[0] for row in rows] == ["arm", "depth 2", "depth 1", "depth 3"]  # by the mean
    shown = "The figures show the 1 of 2 arms with the highest mean test accuracy and the reference arm."
    assert shown in text
    assert shown in (tmp_path / "report.html").read_text()
    assert f"These are 1 of {len(rows) - 1} rows; [all rows](tables/depth/arms.csv) are in a file." in text
    assert 'href="tables/depth/arms.csv"' in (tmp_path / "report.html").read_text()
