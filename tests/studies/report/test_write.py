import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from research.studies.report.markdown import escape
from research.studies.report.write import write_report

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
    assert re.findall("^## (.*)", text, re.MULTILINE) == ["&lt;script&gt;alert(1)&lt;/script&gt;", "depth"]
    assert "3 arms, 8 seeds; 24 runs: 16 completed, 8 missing. Reference arm: depth 2." in text
    assert "| depth 3 | 0 | — | — | — | — | — | 8 missing |" in text
    assert "| depth 1 | 8 | -5.00 | [-5.00, -5.00] | 0.0078 | 0.0156 | lower |" in text
    assert "<script" not in text
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


@pytest.mark.integration
def test_studies_need_no_training_code():
    code = "import sys, research.studies.report.write; print({'jax', 'optax', 'hydra'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_escape():
    assert escape("a\n b") == "a b"
    assert escape("[x](y)") == r"[x]\(y)"
