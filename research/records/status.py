"""The progress of the runs of a sweep, which is read from its folder alone."""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from research.records import FINISHED, RecordError, read_run, run_folders
from research.records.lock import heartbeat


@dataclass(frozen=True)
class RunStatus:
    """One run of a sweep.

    Args:
        path: the folder of the run.
        status: the status of its result, or "running", "missing" or "damaged".
        detail: how far the run is, or what happened to it.
        left: share of the training that remains, in [0, 1].
        seconds: the time that the run took; `None` unless it completed.
    """

    path: Path
    status: str
    detail: str = ""
    left: float = 1.0
    seconds: float | None = None


def read_status(folder: str | Path) -> list[RunStatus]:
    """Return the status of the runs in a folder and below it, sorted by path.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    return [_status_of(path) for path in run_folders(folder)]


def seconds_left(runs: list[RunStatus]) -> float | None:
    """Return an estimate of the seconds until the sweep is done; `None` if no run has completed.

    Each unfinished run is expected to take the median time of the completed runs. The running runs share the
    remaining work.
    """
    seconds = [run.seconds for run in runs if run.seconds is not None]
    if not seconds:
        return None
    left = sum(run.left for run in runs if run.status not in FINISHED)
    return statistics.median(seconds) * left / max(1, sum(run.status == "running" for run in runs))


def _status_of(path: Path) -> RunStatus:
    beat = heartbeat(path)
    if beat is not None:
        step, num_steps = beat.get("step", 0), beat.get("num_steps", 0)
        ago = max(0.0, time.time() - beat.get("time", 0.0))
        detail = f"step {step} of {num_steps or '?'}, heartbeat {ago:.0f} s ago, process {beat.get('pid')}"
        return RunStatus(path, "running", detail, 1 - step / num_steps if num_steps else 1.0)
    try:
        run = read_run(path)
    except RecordError as error:
        return RunStatus(path, "damaged", str(error))
    if run.result is None:
        return RunStatus(path, "missing")
    if run.status == "completed":
        return RunStatus(path, "completed", left=0.0, seconds=run.result.seconds and run.result.seconds.total)
    return RunStatus(path, run.status, run.result.error or "")
