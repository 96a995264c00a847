"""The time and memory of a sweep outside the training of its runs, for several numbers of runs.

Every command that is measured is a process of its own. The numbers come from `/proc`, so this needs Linux.
"""

import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from research import records
from research.utils.memory import resident_memory

WORDS = ("model=tiny", "training.epochs=1", "data.train_limit=64")
"""The keys of the runs: a small network and few images, so that a run trains for about a millisecond."""

EARLY = 10
"""The number of finished runs at which the memory is measured first."""

POLL_SECONDS = 0.05


def benchmark_sweep(folder: Path, sizes: Sequence[int], num_trained: int = 100) -> list[dict[str, Any]]:
    """Return the time and memory of sweeps, one dict for each number of runs.

    Args:
        folder: a new folder for the sweeps.
        sizes: the numbers of runs, each larger than `EARLY`.
        num_trained: the number of runs that are trained in each sweep, larger than `EARLY`. The other runs
            get the result of one of these.

    Returns:
        For each number: `num_runs`; `plan_s` and `recognise_s` (processor seconds until all runs are planned,
        and of a launch that finds all runs finished); `overhead_ms` (the time from one result to the next
        without the training, the median over the trained runs); `report_s` and `report_mib`; `status_s` (of
        `sweep-status`); `launcher_mib` and `worker_mib` (the memory of the two processes when `EARLY` runs
        and when all trained runs have finished).

    Raises:
        RuntimeError: a command failed; the message names the file with its output.
    """
    rows = []
    for size in sizes:
        sweep = folder / f"{size}-runs"
        words = ["train", "-m", *WORDS, f"seed=range(0,{size})", f"hydra.sweep.dir={sweep}"]
        row = {"num_runs": size} | _train(words, sweep, size, min(num_trained, size))
        _fill(sweep)
        row["recognise_s"] = _call(words, sweep)["cpu_s"]
        report = _call(["report", str(sweep), "--out", f"{sweep}-report"], sweep)
        row["status_s"] = _call(["sweep-status", str(sweep)], sweep)["s"]
        rows.append(row | {"report_s": report["s"], "report_mib": report["mib"]})
    return rows


def _train(words: Sequence[str], sweep: Path, num_runs: int, num_trained: int) -> dict[str, Any]:
    """Launch a sweep, end it when some runs are trained, and return its times and memory until then."""
    process, log = _start(words, sweep)
    found: dict[str, Any] = {}
    memory: list[tuple[float, float]] = []
    while process.poll() is None:
        time.sleep(POLL_SECONDS)
        if "plan_s" not in found:
            if len(list(sweep.glob("*/config.yaml"))) == num_runs:
                found["plan_s"] = _cpu_seconds(process.pid)
            continue
        finished = len(re.findall(r"^\[\d", log.read_text(), re.MULTILINE))
        if finished >= (num_trained if memory else EARLY):
            memory.append(_memory(process.pid))
            if len(memory) == 2:
                process.send_signal(signal.SIGTERM)
                process.wait()
    if len(memory) < 2:
        raise RuntimeError(f"the sweep ended early; {log} has its output")
    runs = [run for path in sweep.glob("*/result.json") if (run := records.read_run(path.parent))]
    ends = sorted(
        ((run.path / "result.json").stat().st_mtime, run.outcome.seconds.train)
        for run in runs
        if run.status == "completed" and run.outcome.seconds is not None
    )
    found["overhead_ms"] = 1e3 * statistics.median(
        end - before - train for (before, _), (end, train) in pairwise(ends)
    )
    return found | dict(zip(("launcher_mib", "worker_mib"), zip(*memory, strict=True), strict=True))


def _fill(sweep: Path) -> None:
    """Give each run without a result the result of a run that completed."""
    runs = [records.read_run(path.parent) for path in sweep.glob("*/config.yaml")]
    done = next(run for run in runs if run.status == "completed")
    for run in runs:
        if run.status != "completed":
            for name in ("metrics.jsonl", "arrays.npz"):
                shutil.copyfile(done.path / name, run.path / name)
            records.write_result(run.path, done.outcome)


def _start(words: Sequence[str], sweep: Path) -> tuple[subprocess.Popen[bytes], Path]:
    """Start a command, and return the process and the file that receives its output."""
    log = sweep.with_name(f"{sweep.name}-{words[0]}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        command = [sys.executable, "-m", "research.cli", *words]
        return subprocess.Popen(command, stdout=output, stderr=output), log


def _call(words: Sequence[str], sweep: Path) -> dict[str, float]:
    """Return the seconds, the processor seconds and the peak memory (MiB) of a command."""
    began = time.perf_counter()
    process, log = _start(words, sweep)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the command failed; {log} has its output")
    seconds = time.perf_counter() - began
    return {"s": seconds, "cpu_s": used.ru_utime + used.ru_stime, "mib": used.ru_maxrss / 1024}


def _cpu_seconds(pid: int) -> float:
    """Return the processor seconds of a process, without those of its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> tuple[float, float]:
    """Return the memory (MiB) that a process and the largest of its children hold."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    held = [resident_memory(process=each) / 2**20 for each in (pid, *children)]
    return held[0], max(held[1:], default=0.0)
