"""A study from Python, and a report, each in a process of its own."""

import os
import subprocess
import sys

from research.records import find_runs

SCRIPT = """
from research.studies import Study

study = Study("activation", axis="model.activation", arms=["relu", "tanh"], reference="relu",
              base={"model": "tiny", "training": {"epochs": 2, "xla_optimization_level": 0},
                    "data.train_limit": 128})
results = study.run(seeds=range(2), folder="runs")
print(results.arms())
print(results.contrasts())
results.figure("accuracy")
print(results.report())
"""


def test_the_example_is_a_plain_script_without_a_guard(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "runs/report.md"
    assert len(find_runs(tmp_path / "runs")) == 4


WITHOUT_JAX = """
import sys
from pathlib import Path

for name in ("jax", "jaxlib", "optax", "flax"):
    sys.modules[name] = None
from research.studies import read_study
from research.studies.report import write_report

print(write_report(Path(sys.argv[1]), Path(sys.argv[2])))
print(read_study(sys.argv[1]).contrasts())
"""


def test_a_report_is_written_without_jax(depth_study, tmp_path):
    command = [sys.executable, "-c", WITHOUT_JAX, str(depth_study), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str(tmp_path / "report.md")
