"""What ``make reproduce`` would run; the studies it names are run small in ``scripts/test_train.py``."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import research
from research.frameworks.base import FRAMEWORKS
from research.frameworks.config import ComparisonConfig
from research.studies import Study
from research.studies.statistics import is_testable

ROOT = Path(research.__file__).parents[1]
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")


def planned(*variables, target="reproduce"):
    command = ["make", "-n", target, *variables]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = done.stdout.replace("\\\n", "").splitlines()
    return [line for line in lines if " scripts/" in line]  # not what is left to install


@needs_make
def test_study_has_seeds_for_every_contrast_and_a_report_after_every_study():
    lines = planned(target="study")
    assert [" scripts/report.py multirun/digits" in line for line in lines] == [False, True] * 4
    assert lines[-1].endswith(" --open")
    names = [match[1] for line in lines if (match := re.search(r"\+study=(\w+)", line))]
    assert names == ["depth", "activation", "optimizer"]
    assert all("range(0,8)" in line for line in lines if "+study" in line)
    for name in names[:2]:
        assert is_testable(len(Study.from_conf(name).arms) - 1, 8)
    (optimizer,) = [line for line in lines if "+study=optimizer" in line]
    assert is_testable(optimizer.count(",", optimizer.index("study.arms")), 8)
    assert is_testable(len(FRAMEWORKS) - 1, ComparisonConfig().seeds)
    assert "seeds=" not in lines[-2]


@needs_make
@pytest.mark.parametrize(
    ("uv", "venv", "install"),
    [
        (
            "uv",
            "uv venv --quiet --seed --python python3 new",
            "uv pip install --compile-bytecode --python new/bin/python",
        ),
        ("", "python3 -m venv new", "new/bin/python -m pip install"),
    ],
)
def test_uv_installs_under_the_same_constraints_where_there_is_one(uv, venv, install):
    command = ["make", "-n", "install", f"UV={uv}", "VENV=new", "EXTRAS=dev"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [line.replace("--disable-pip-version-check ", "") for line in done.stdout.splitlines()]
    assert venv in lines
    assert f"{install} --quiet -c constraints.txt -e '.[dev]'" in lines


@needs_make
def test_reproduce_covers_what_was_published():
    *runs, report = planned()
    studies = [match[1] for line in runs if (match := re.search(r"\+study=(\w+)", line))]
    assert sorted(studies) == ["activation", "depth", "optimizer", "size"]
    assert all((ROOT / "conf" / "studies" / f"{study}.yaml").exists() for study in studies)
    assert sum("compare_frameworks.py" in line for line in runs) == 1
    assert all("range(0,8)" in line or "seeds=8" in line for line in runs)
    assert report.endswith("scripts/report.py multirun/mnist --out docs/results/mnist")


@needs_make
def test_reproduce_can_be_made_smaller():
    *runs, report = planned(
        *("DATA=digits", "SEEDS=2", "EPOCHS=1", "FRAMEWORK_EPOCHS=1", "FRAMEWORKS=[torch]", "TUNING=null"),
        *("RUNS=here", "RESULTS=there"),
    )
    assert all("range(0,2)" in line or "seeds=2" in line for line in runs)
    assert all("data=digits" in line and "training.epochs=1" in line for line in runs)
    assert sum("study.tuning=null" in line for line in runs) == 3  # the optimizers are always tuned
    assert "'frameworks=[torch]'" in runs[-1]
    assert report.endswith("scripts/report.py here --out there")


@needs_make
def test_reproduce_cifar_takes_few_seeds_for_what_is_slow():
    depth, architecture, report = planned(target="reproduce-cifar")
    assert all("data=cifar10" in line for line in (depth, architecture))
    assert "range(0,8)" in depth
    assert "range(0,2)" in architecture
    assert report.endswith("scripts/report.py multirun/cifar10 --out docs/results/cifar10")
