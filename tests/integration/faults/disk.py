"""Disks that fill up, turn read-only or lose a folder under a run, at a random step of it."""

import contextlib
import os
import random
import shutil
import subprocess
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from research.config import Config
from research.records import find_runs
from research.records.status import read_status
from research.runs.preemption import StopOnSignal
from research.runs.run import run
from research.studies.report.write import write_report
from research.training.checkpoint import CheckpointError
from tests.integration.faults.damage import CONFIG, NUM_STEPS, examples
from tests.integration.faults.equality import assert_same_run
from tests.integration.faults.kills import whole_run
from tests.integration.faults.processes import QUICK, finish, go_on, start

MEGABYTES = 4  # of a disk


def disk_full(rng: random.Random, folder: Path) -> None:
    """A disk that another process fills: the run ends with a sentence, and goes on when there is room."""
    disk = mounted(folder / "disk")
    filler = disk / "filler"

    def fill() -> None:
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(bytes(1024)):
                pass

    with unmounted_after(disk):
        assert_survives(rng, disk, fill, lambda: filler.unlink(missing_ok=True))


def file_limit(rng: random.Random, folder: Path) -> None:
    """A file that may not become larger, as at the end of a quota: the script says one sentence."""
    whole, _ = whole_run()
    blocks = round(2 ** rng.uniform(0, 6)) - 1
    process = start("train.py", *QUICK, "run=cut", folder=folder, file_blocks=blocks)
    code, _, err = finish(process)
    sentences = [line for line in err.splitlines() if " cannot be kept in " not in line]
    assert code in (0, 2), err
    assert len(sentences) == (code == 2), err
    assert not sentences or sentences[0].endswith(": File too large"), err
    go_on(folder / "cut")
    assert_same_run(whole / "cut", folder / "cut")


def read_only(rng: random.Random, folder: Path) -> None:
    """A disk that turned read-only: what is there is read, and runs go on when it is mended."""
    disk = mounted(folder / "disk")
    with unmounted_after(disk):
        for name in ("finished", "interrupted"):
            shutil.copytree(examples() / name, disk / name)
        remount(disk, "ro")
        name = rng.choice(("new", "interrupted", "finished"))
        said = said_by(lambda: run(Config.from_dict(CONFIG), disk / name, resume=True))
        assert said == f"{disk / name}{'' if name == 'new' else '/running.json'}: Read-only file system"
        said = said_by(lambda: write_report(disk / "finished"))
        assert said.startswith(str(disk / "finished")), said
        assert said.endswith("Read-only file system"), said
        write_report(disk / "finished", folder / "report")
        assert [status.status for status in read_status(disk)] == ["completed", "preempted"]
        assert_same_run(examples() / "finished", disk / "finished")
        remount(disk, "rw")
        run(Config.from_dict(CONFIG), disk / "interrupted", resume=True)
        assert_same_run(examples() / "finished", disk / "interrupted")


def deleted(rng: random.Random, folder: Path) -> None:
    """A run whose folder is removed while it runs; the others stay as they are."""

    def remove() -> None:
        while (folder / "cut").exists():  # a checkpoint may just be written into it
            shutil.rmtree(folder / "cut", ignore_errors=True)

    assert_survives(rng, folder, remove, lambda: None)


def assert_survives(
    rng: random.Random, folder: Path, fault: Callable[[], None], mend: Callable[[], None]
) -> None:
    """Let a fault happen at a random step of a run beside a finished one, and try again when it is mended."""
    finished = shutil.copytree(examples() / "finished", folder / "finished")
    left = rng.randrange(NUM_STEPS)

    def received() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            fault()

    if left == 0:
        fault()
    said = said_by(lambda: run(Config.from_dict(CONFIG), folder / "cut", callbacks=[StopOnSignal(received)]))
    if said:
        assert str(folder / "cut") in said, said
        assert "\n" not in said, said
    assert_same_run(examples() / "finished", finished)
    assert finished in [found.path for found in find_runs(folder)]
    mend()
    if said:
        run(Config.from_dict(CONFIG), folder / "cut", resume=True)
    assert_same_run(examples() / "finished", folder / "cut")


def said_by(work: Callable[[], Any]) -> str:
    """The sentence that some work ends with; empty where it does its work."""
    try:
        work()
    except CheckpointError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    return ""


def mounted(folder: Path) -> Path:
    """A small disk of its own.

    Raises:
        unittest.SkipTest: this user may not mount one.
    """
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)]
    if os.geteuid() or not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        raise unittest.SkipTest("only root can mount a small disk")
    return folder


def remount(disk: Path, mode: str) -> None:
    """Make a disk read-only ("ro") or writable ("rw")."""
    subprocess.run(["mount", "-o", f"remount,{mode}", str(disk)], check=True, capture_output=True)


@contextlib.contextmanager
def unmounted_after(disk: Path) -> Iterator[None]:
    """Give a disk back at the end of a block."""
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
