"""The report of a study of frameworks, from synthetic run folders."""

import csv
import subprocess
import sys

import pytest

from research import records
from research.records import RunResult, Seconds
from research.studies.report.frameworks import fastest, load, parity_table, versions_table
from research.studies.report.write import write_report
from research.studies.results import read_studies

NAMES = ("numpy", "jax_im2col", "torch", "flax_nnx", "keras_jax", "keras_torch")


def measured(seed: int, train_s: float, compile_s: float | None = 2.0) -> RunResult:
    return RunResult(
        "completed",
        test_accuracy=0.98 + 0.001 * seed,
        epochs=3,
        num_parameters=105_866,
        seconds=Seconds(compile_s or 0.0, train_s + seed, train_s + seed + 5),
        images_per_s=1000 / train_s,
        measurements={
            "gradient_error": 1e-7,
            "loss_error": 1e-6,
            "repeatable": 1.0,
            "compile_s": compile_s,
            "first_step_s": 2.5,
            "peak_mib": 300.0,
            "load_average": 2.0 + seed,
        },
        provenance={
            "worst_array": "conv1/bias",
            "threads": {"num_threads": 2, "processors": [0, 1]},
            "framework_versions": {"jax": "0.10.1"},
        },
    )


def failed(error: str, **measurements: float | None) -> RunResult:
    return RunResult("failed", error, exit_code=1, measurements=measurements)


@pytest.fixture
def write_frameworks(tmp_path):
    """Write the runs of a comparison below a folder: by default three seeds, some of them failed."""

    def write(folder, data="mnist", leave_out=()):
        results = {
            "numpy": [measured(seed, 40, None) for seed in range(3)],
            "jax_im2col": [measured(seed, 20) for seed in range(3)],
            "torch": [measured(0, 10, None)],
            "flax_nnx": [failed("parity failed: too far", gradient_error=None, loss_error=1e-6)] * 3,
            "keras_jax": [failed("not installed; install it with: pip install <some|thing>")] * 3,
            "keras_torch": [failed("exit code -6: a|b")],
        }
        names = [name for name in NAMES if name not in leave_out]
        for name in names:
            for seed, result in enumerate(results[name]):
                plan = {"name": "frameworks", "question": "What does it cost?", "axis": "framework"}
                plan |= {"arm": name, "arms": names, "reference": "jax_im2col"}
                config = {"seed": seed, "framework": name, "model": {"name": "reference"}}
                config |= {"data": {"name": data}, "training": {"epochs": 3, "batch_size": 128}}
                path = folder / name / str(seed)
                records.start_run(path, config | {"num_threads": 2, "study": plan})
                records.write_result(path, result)
        return folder

    return write


def test_report_shows_every_framework_and_what_became_of_it(write_frameworks, tmp_path):
    report = write_report(write_frameworks(tmp_path / "runs"), tmp_path / "out").read_text()
    assert "| torch | 1 | 98.00 — | 10.00 | 100 | — | 2.50 | 300 | 2 |" in report
    assert (
        "| keras_jax | 0 | not installed; install it with: pip install &lt;some\\|thing&gt; | — |" in report
    )
    assert "| keras_torch | 0 | exit code -6: a\\|b | — |" in report
    assert "| flax_nnx | parity failed: too far | — |" in report
    assert (
        "torch trained fastest, in 10.00 s; jax_im2col, this codebase's own, took 2.10 times as long."
        in report
    )
    assert "at most 4.0 when a measurement began, of which up to 2 came" in report
    assert "| jax_im2col | 3 | 98.10 [97.85, 98.35] | 21.00 [18.52, 23.48] | 50.00 | 2.00 |" in report
    assert "accuracy: Keras &gt; PyTorch &gt; NumPy | not decidable at this n | 0 |" in report
    assert "published train (s)" in report
    assert "| keras_jax | 0, 1, 2 | failed | not installed; install it with:" in report


def test_parity_and_versions(write_frameworks, tmp_path):
    (study,) = read_studies(write_frameworks(tmp_path))
    parity = {row[0]: row[1:] for row in parity_table(study).rows}
    assert list(parity) == list(NAMES)
    assert parity["numpy"] == ("completed", "1.0e-07", "conv1/bias", "1.0e-06", "yes")
    assert parity["flax_nnx"][1] == "—"
    assert versions_table(study).rows[0] == ("numpy", "jax 0.10.1", "num_threads=2, processors=[0, 1]")


def test_ours_may_be_the_fastest(write_frameworks, tmp_path):
    write_frameworks(tmp_path / "runs", data="digits", leave_out=("torch",))
    report = write_report(tmp_path / "runs", tmp_path / "out").read_text()
    assert "jax_im2col trained fastest, in 21.00 s." in report
    assert "Published" not in report


def test_nothing_measured_is_a_report_without_a_figure(write_frameworks, tmp_path):
    names = ("numpy", "jax_im2col", "torch", "flax_nnx", "keras_torch")
    folder = write_frameworks(tmp_path / "runs", leave_out=names)
    (study,) = read_studies(folder)
    assert fastest(study) == load(study) == ""
    report = write_report(folder, tmp_path / "out").read_text()
    assert "| keras_jax | 0 | not installed" in report
    assert ".svg" not in report


def test_a_report_of_runs_takes_up_the_comparison_beside_them(write_frameworks, tmp_path, write, make_plan):
    write(tmp_path / "runs" / "depth" / "1", make_plan("depth 1"))
    write_frameworks(tmp_path / "runs" / "frameworks", data="digits")
    report = write_report(tmp_path / "runs", tmp_path / "out").read_text()
    assert "## Depth" in report
    assert "## Frameworks" in report
    assert "](figures/frameworks/cost.svg)" in report
    assert (tmp_path / "out" / "figures" / "frameworks" / "cost.svg").exists()
    assert "Do they compute the same?" in (tmp_path / "out" / "report.html").read_text()
    assert not (tmp_path / "runs" / "report.md").exists()
    rows = list(csv.DictReader((tmp_path / "out" / "results.csv").read_text().splitlines()))
    (first,) = [row for row in rows if row["arm"] == "jax_im2col" and row["seed"] == "0"]
    assert (first["study"], first["status"], first["test_accuracy"]) == ("frameworks", "completed", "0.98")
    assert (first["train_seconds"], first["compile_seconds"], first["epochs"]) == ("20", "2.0", "3")
    (broken,) = [row for row in rows if row["arm"] == "keras_torch" and row["status"] == "failed"]
    assert (broken["counted"], broken["error"]) == ("False", "exit code -6: a|b")


def test_the_report_needs_no_framework(write_frameworks, tmp_path):
    write_frameworks(tmp_path / "runs")
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('jax', 'torch', 'keras', 'flax')));"
        "from pathlib import Path; from research.studies.report.write import write_report;"
        f"write_report(Path({str(tmp_path / 'runs')!r}), Path({str(tmp_path / 'out')!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
