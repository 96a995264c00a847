"""Scripts as processes of their own, as a person starts them, and ways to wait for them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from research.config import Config
from research.records import is_finished, read_config
from research.runs.run import run
from tests.integration.faults.examples import kept_folder

REPOSITORY = Path(__file__).parents[3]

# four steps an epoch, a call of the program for each, a checkpoint after every second
QUICK = (
    "model=tiny",
    "data.train_limit=140",
    "training.batch_size=32",
    "training.epochs=4",
    "training.scan_steps=1",
    "training.checkpoint_every=2",
)


def start(
    script: str,
    *arguments: str,
    folder: Path,
    file_blocks: int | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.Popen[str]:
    """Start a script in a folder, without what this process set for itself.

    Args:
        script: its name.
        arguments: as on the command line.
        folder: where it works.
        file_blocks: size that no file may exceed, as for ``ulimit -f``.
        environment: variables, beside those of this process.
    """

    inherited = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    ours = {"XDG_CACHE_HOME": str(cache_home()), "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, str(REPOSITORY / "scripts" / script), *arguments]
    if file_blocks is not None:
        command = ["sh", "-c", 'ulimit -f "$0"; exec "$@"', str(file_blocks), *command]
    pipe = subprocess.PIPE
    environment = {**inherited, **ours, **environment}
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, stdout=pipe, stderr=pipe)


def finish(process: subprocess.Popen[str], seconds: float = 240) -> tuple[int, str, str]:
    """The exit code, output and errors of a process that ends by itself."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        kill(process)
        raise AssertionError(f"still running after {seconds:.0f} s: {process.args}") from None
    return process.returncode, out, err


def go_on(folder: Path) -> None:
    """Go on with a run of ``QUICK`` in this process, where its programs are compiled, until it is done."""
    if not (folder / "config.yaml").exists():
        code, out, err = finish(start("train.py", *QUICK, f"run={folder.name}", folder=folder.parent))
        assert code == 0, err or out
    elif not is_finished(folder):
        run(Config.from_dict(read_config(folder)), folder, resume=True)


def kill(process: subprocess.Popen[str]) -> None:
    """End a process at once; it is told nothing."""
    process.kill()
    process.communicate()


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str], seconds: float = 240) -> None:
    """Wait until something holds or the process has ended."""
    deadline = time.monotonic() + seconds
    while process.poll() is None and not condition():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {process.args}"
        time.sleep(0.01)


@cache
def cache_home() -> Path:
    """One folder of compiled programs for all trials of this process; the user's own is left alone."""
    return kept_folder("cache")
