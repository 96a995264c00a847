"""Sweeps through real launchers (one run completes, one fails, one is killed), and a run by ``srun``."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from research.records import find_runs

TRAIN = Path(__file__).parents[3] / "scripts" / "train.py"
SLURM = Path(__file__).with_name("slurm.sh")
SWEEP = ("model=tiny", "data.train_limit=300", "training.batch_size=64,2000", "training.epochs=1,100000")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the workers through /proc"),
]


def needs(module: str):
    root = importlib.util.find_spec(module.split(".")[0])
    missing = root is None or importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"{module} is not installed")


@pytest.fixture
def slurm(tmp_path_factory):
    """A real SLURM for the test; gives its configuration."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("slurmctld", "slurmd", "munged"))):
        pytest.skip("a SLURM of its own needs root and Debian's slurm-wlm and munge")
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run([SLURM, "start", folder], check=True)
    yield folder / "slurm.conf"
    subprocess.run([SLURM, "stop", folder], check=True)


def kill_workers(mark: str) -> int:
    """Kill the training processes of the sweep whose environment holds ``mark``."""
    killed = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = ((process / name).read_bytes() for name in ("cmdline", "environ"))
        except OSError:
            continue
        if b"spawn_main" in command and f"MARK={mark}".encode() in environment.split(b"\0"):
            os.kill(int(process.name), signal.SIGKILL)
            killed += 1
    return killed


def sweep(launcher: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Launch the sweep, and kill its endless run once it trains."""
    command = [sys.executable, str(TRAIN), "-m", f"hydra/launcher={launcher}", *SWEEP]
    command += [f"hydra.sweep.dir={folder / 'sweep'}"]
    own = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    own |= {"MARK": str(folder), "XDG_CACHE_HOME": str(folder / "cache"), **environment}
    process = subprocess.Popen(
        command, cwd=folder, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 240
    # until one trains on and on, and the others, whose processes are killed with its, have ended
    while not (trains_on(folder) and len([*(folder / "sweep").glob("*/result.json")]) == 3):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert kill_workers(str(folder))
    out, err = process.communicate(timeout=240)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def trains_on(folder: Path) -> bool:
    """Whether the run that ends only when it is killed has begun."""
    runs = (path for path in (folder / "sweep").glob("*/metrics.jsonl"))
    return any("epochs: 100000" in (path.parent / "config.yaml").read_text() for path in runs)


def check(outcome: subprocess.CompletedProcess[str], folder: Path) -> None:
    assert outcome.returncode == 1, outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert outcome.stderr.splitlines()[-1].startswith("train.py: "), outcome.stderr
    statuses = sorted(run.status for run in find_runs(folder / "sweep"))
    assert statuses == ["completed", "failed", "failed", "missing"]


@needs("hydra_plugins.hydra_submitit_launcher")
def test_submitit_on_this_machine(tmp_path):
    check(sweep("submitit_local", tmp_path), tmp_path)


@needs("hydra_plugins.hydra_submitit_launcher")
def test_submitit_on_slurm(tmp_path, slurm):
    check(sweep("submitit_slurm", tmp_path, SLURM_CONF=str(slurm)), tmp_path)


def test_one_run_of_two_processes_that_srun_starts(tmp_path, slurm):
    train = (sys.executable, TRAIN, "parallel=jit", "distributed.mode=auto", "run=together")
    command = ["srun", "--ntasks=2", *train, "data.train_limit=320", "training.epochs=1"]
    environment = {**os.environ, "SLURM_CONF": str(slurm), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    (found,) = find_runs(tmp_path)
    assert found.outcome.provenance["num_devices"] == 2
    assert done.stdout.count("test accuracy") == 1


@needs("hydra_plugins.hydra_joblib_launcher")
def test_joblib(tmp_path):
    check(sweep("joblib", tmp_path), tmp_path)


@needs("hydra_plugins.hydra_ray_launcher")
def test_ray(tmp_path):
    check(sweep("ray", tmp_path), tmp_path)
