"""SIGKILL at a random moment: nothing is told, nothing can be written; what is on the disk must do."""

import contextlib
import os
import random
import signal
import time
from functools import cache
from pathlib import Path

from research.records import find_runs
from research.records.lock import heartbeat
from tests.integration.faults.equality import assert_same_run
from tests.integration.faults.examples import kept_folder
from tests.integration.faults.processes import QUICK, finish, go_on, kill, start, wait_for

SWEEP = ("-m", "seed=range(0,3)", *QUICK, "hydra.sweep.dir=sweep")


def kill_run(rng: random.Random, folder: Path) -> None:
    """Kill a run once, anywhere between its first file and its end, and go on with it."""
    whole, seconds = whole_run()
    process = start("train.py", *QUICK, "run=cut", folder=folder)
    wait_for((folder / "cut" / "running.json").exists, process)
    time.sleep(rng.uniform(0, seconds))
    kill(process)
    finished = stamps(folder)
    go_on(folder / "cut")
    assert_same_run(whole / "cut", folder / "cut")
    assert finished.items() <= stamps(folder).items(), "a finished run was run again"


def kill_sweep(rng: random.Random, folder: Path) -> None:
    """Kill a sweep or the process of one of its runs, and launch it again."""
    whole, seconds = whole_sweep()
    process = start("train.py", *SWEEP, folder=folder)
    wait_for(lambda: list(folder.rglob("running.json")), process)
    time.sleep(rng.uniform(0, seconds))
    workers = [beat["pid"] for run in find_runs(folder) if "pid" in (beat := heartbeat(run.path) or {})]
    if workers and rng.random() < 0.5:
        with contextlib.suppress(ProcessLookupError):  # it may be done
            os.kill(workers[0], signal.SIGKILL)
        finished = stamps(folder)
        code, out, err = finish(process)
        assert "Traceback" not in err, err
        assert code == int(any(run.status != "completed" for run in find_runs(folder))), out
    else:
        kill(process)
        finished = stamps(folder)
    code, out, err = finish(start("train.py", *SWEEP, folder=folder))
    assert code == 0, err or out
    assert finished.items() <= stamps(folder).items(), "a finished run was run again"
    runs = find_runs(folder)
    assert len(runs) == 3
    for run in runs:
        assert_same_run(whole / run.path.relative_to(folder), run.path)


def stamps(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """When each result below a folder was written, and what it says."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("result.json")}


@cache
def whole_run() -> tuple[Path, float]:
    """The run that nobody kills, and how many seconds it takes from its first file to its end."""
    return timed(*QUICK, "run=cut")


@cache
def whole_sweep() -> tuple[Path, float]:
    """The sweep that nobody kills, and how many seconds it takes from its first file to its end."""
    return timed(*SWEEP)


def timed(*arguments: str) -> tuple[Path, float]:
    """Train twice; the second finds its programs compiled, as those that are killed do."""
    folder, seconds = Path(), 0.0
    for _ in range(2):
        folder = kept_folder("whole")
        process = start("train.py", *arguments, folder=folder)
        wait_for(lambda folder=folder: list(folder.rglob("running.json")), process)
        began = time.monotonic()
        code, _, err = finish(process)
        assert code == 0, err
        seconds = time.monotonic() - began
    return folder, seconds
