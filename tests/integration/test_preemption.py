"""Signals sent from outside to a run and to a sweep."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from research.records import read_run

LONG = ("model=tiny", "data.train_limit=300", "training.epochs=100000")
TRAIN = Path(__file__).parents[2] / "scripts" / "train.py"


def start(folder: Path, *arguments: str, by: tuple[str, ...] = ()) -> subprocess.Popen:
    """Start a run as a person would, without what this process set for itself, by another program or not."""
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    command = [*by, sys.executable, str(TRAIN), *arguments]
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

    again = start(tmp_path, "resume=true", "run=cut", "parallel=shard_map", "parallel.num_devices=2")
    wait_for(lambda: len(list((tmp_path / "cut" / "checkpoints").glob("step-*"))) == 2)
    again.send_signal(number)
    assert "preempted" in again.communicate(timeout=60)[0]


def test_under_nohup_a_run_goes_on_after_sighup_and_slurms_warning_ends_it(tmp_path):
    run = start(tmp_path, *LONG, "run=kept", by=("nohup",))
    log = tmp_path / "kept" / "metrics.jsonl"
    wait_for(log.exists)
    run.send_signal(signal.SIGHUP)
    epochs = log.read_text().count("\n")
    wait_for(lambda: log.read_text().count("\n") > epochs + 5)
    run.send_signal(signal.SIGUSR1)
    out, _ = run.communicate(timeout=60)
    assert run.returncode == 128 + signal.SIGUSR1
    assert "preempted: SIGUSR1 after" in out
    assert read_run(tmp_path / "kept").status == "preempted"
    assert list((tmp_path / "kept" / "checkpoints").glob("step-*"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_to_all_processes_of_a_sweep_ends_it_quietly(tmp_path, number):
    sweep = start(tmp_path, "-m", "seed=0,1", *LONG, "hydra.sweep.dir=cut", by=("setsid",))
    wait_for(lambda: list((tmp_path / "cut").rglob("metrics.jsonl")))
    os.killpg(sweep.pid, number)
    out, err = sweep.communicate(timeout=60)
    assert (sweep.returncode, err) == (128 + number, "")
    assert f"preempted  {number.name} after" in out


@pytest.mark.slow
def test_a_closed_terminal_ends_a_run_with_a_checkpoint(tmp_path):
    terminal, end = pty.openpty()
    take_it = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    take_it += "os.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", take_it, sys.executable, str(TRAIN), *LONG, "run=cut"]
    child = subprocess.Popen(command, cwd=tmp_path, stdin=end, stdout=end, stderr=end, start_new_session=True)
    os.close(end)

    def has_begun():
        if select.select([terminal], [], [], 0)[0]:
            os.read(terminal, 4096)
        return (tmp_path / "cut" / "metrics.jsonl").exists()

    wait_for(has_begun)
    os.close(terminal)
    assert child.wait() == 128 + signal.SIGHUP
    assert read_run(tmp_path / "cut").status == "preempted"
    assert list((tmp_path / "cut" / "checkpoints").glob("step-*"))
