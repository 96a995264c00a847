"""Signals sent from outside to a run and to a sweep."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from research.records import read_run

LONG = ("model=tiny", "data.train_limit=300", "training.epochs=100000")
TRAIN = Path(__file__).parents[2] / "scripts" / "train.py"


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    """Start a run as a person would, without what this process set for itself."""
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, str(TRAIN), *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, stdout=pipe, stderr=pipe)


def wait_for(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_signal_ends_a_run_with_a_checkpoint_and_it_goes_on(tmp_path, number):
    run = start(tmp_path, *LONG, "run=cut")
    wait_for(lambda: (tmp_path / "cut" / "metrics.jsonl").exists())
    began = time.monotonic()
    run.send_signal(number)
    out, err = run.communicate(timeout=60)
    assert time.monotonic() - began < 10
    assert run.returncode == 128 + number
    assert err == ""
    result = read_run(tmp_path / "cut").outcome
    assert (result.status, result.exit_code) == ("preempted", 128 + number)
    assert f"preempted: {number.name} after" in out
    assert len(list((tmp_path / "cut" / "checkpoints").iterdir())) == 1

    refused = start(tmp_path, "resume=true", "run=cut", "seed=1")
    assert "leave out seed=1" in refused.communicate(timeout=120)[1]
    assert refused.returncode == 2
    again = start(tmp_path, "resume=true", "run=cut", "parallel=shard_map", "parallel.num_devices=2")
    wait_for(lambda: len(list((tmp_path / "cut" / "checkpoints").glob("step-*"))) == 2)
    again.send_signal(number)
    assert "preempted" in again.communicate(timeout=60)[0]
