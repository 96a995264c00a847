"""What a run finds around it: a clock that jumps, another run, odd names, no home."""

import os
import random
import time
import unittest.mock
from pathlib import Path

from research.config import Config
from research.records import read_run
from research.records.status import read_status, seconds_left
from research.runs.preemption import StopOnSignal
from research.runs.run import evaluate, run
from research.studies.report.write import write_report
from tests.integration.faults.damage import CONFIG, examples
from tests.integration.faults.equality import assert_same_run
from tests.integration.faults.kills import whole_run
from tests.integration.faults.processes import QUICK, finish, start

YEAR = 365 * 86400.0


def clock(rng: random.Random, folder: Path) -> None:
    """A clock that jumps by years at every look, back and forth: no number and no decision depends on it."""

    def jumping() -> float:
        return rng.uniform(-10, 90) * YEAR

    def received() -> None:
        (status,) = read_status(folder)
        assert status.status == "running"
        assert 0 <= status.left <= 1
        assert "heartbeat" in status.detail
        assert "-" not in status.detail

    with unittest.mock.patch.object(time, "time", jumping):
        result = run(Config.from_dict(CONFIG), folder / "run", callbacks=[StopOnSignal(received)])
        (status,) = read_status(folder)
        assert status.status == "completed"
        assert seconds_left([status]) == 0
    assert all(0 <= seconds < 600 for seconds in vars(result.seconds).values()), result.seconds
    assert_same_run(examples() / "finished", folder / "run")


def two_runs(rng: random.Random, folder: Path) -> None:
    """Two processes with one folder: one runs, the other says who or what is there."""
    whole, seconds = whole_run()
    first = start("train.py", *QUICK, "run=cut", folder=folder)
    time.sleep(rng.uniform(0, seconds))
    second = start("train.py", *QUICK, "run=cut", folder=folder)
    outcomes = [(*finish(process), process.pid) for process in (first, second)]
    (won, *_, winner), (lost, _, said, _) = sorted(outcomes)
    assert (won, lost) == (0, 2), outcomes
    running = f"cut is being run by process {winner} on {os.uname().nodename}; choose another folder"
    assert said.startswith((f"train.py: {running}", "train.py: cut holds a finished run")), said
    assert said.count("\n") == 1, said
    assert_same_run(whole / "cut", folder / "cut")


ODD = " äßéñøłžδжşأ中あ한🙂'\",=+#%&$;:!?*[](){}<>|~^@`-."


def odd_paths(rng: random.Random, folder: Path) -> None:
    """Folders with spaces, letters of many scripts, and signs that mean something to a shell or to Hydra."""
    whole, _ = whole_run()
    outer, name = ("".join(rng.choices(ODD, k=rng.randint(1, 12))) + end for end in ("a", "z"))
    place = folder / outer
    place.mkdir()
    quoted = name.replace("'", "\\'")
    code, out, err = finish(start("train.py", *QUICK, f"run='{quoted}'", folder=place))
    assert code == 0, err
    assert out.splitlines()[-1] == f"run {name}"
    assert_same_run(whole / "cut", place / name)
    result = read_run(place / name).outcome
    assert evaluate(place / name)["test_loss"] == result.test_loss
    write_report(place)
    assert name in (place / "results.csv").read_text(encoding="utf-8").replace('""', '"')


def home(rng: random.Random, folder: Path) -> None:
    """A home that is missing, is a file, or cannot be written: at most a warning, and the same run."""
    whole, _ = whole_run()
    (folder / "file").touch()
    homes = {"missing": "/nowhere/at/all", "file": str(folder / "file"), "system": "/proc", "none": ""}
    name = rng.choice(list(homes))
    environment = {"HOME": homes[name], "XDG_CACHE_HOME": ""}
    code, _, err = finish(start("train.py", *QUICK, "run=cut", folder=folder, environment=environment))
    assert code == 0, err
    assert all("cannot be kept in" in line for line in err.splitlines()), err
    assert_same_run(whole / "cut", folder / "cut")
