"""The processes of the comparison, each with the same threads, processors and environment."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from research.data import Dataset
from research.frameworks.base import FRAMEWORKS, Task
from research.frameworks.networks import parameter_shapes

CHILD_SECONDS = 6 * 3600
"""The longest time that a process may take, in seconds."""

Notify = Callable[[str], None]
"""A function that shows a line of text, which says what is measured next."""


@dataclass(frozen=True)
class Workplace:
    """A folder of shared arrays, and the way in which the processes of a comparison are started.

    Args:
        folder: folder of the shared arrays.
        common: the part of a process's specification that is the same for all processes.
        num_threads: number of threads and processors of every process.
        on_progress: called with a line before each process.
    """

    folder: Path
    common: Mapping[str, Any]
    num_threads: int
    on_progress: Notify

    def share(self, dataset: Dataset) -> None:
        """Write the training and the test split for all processes."""
        splits = {"train": dataset.train, "test": dataset.test}
        arrays = {f"{s}_{key}": a for s, split in splits.items() for key, a in split._asdict().items()}
        np.savez(self.folder / "data.npz", allow_pickle=False, **arrays)

    def run(self, work: str, framework: str, task: Task, seed: int = 0) -> dict[str, Any]:
        """Return what a process of its own measures, as `Process.measure` does."""
        with self.start(work, framework, task) as process:
            return process.measure(seed)

    def start(self, work: str, framework: str, task: Task) -> "Process":
        """Return a process that measures one framework; it starts with its first measurement.

        Args:
            work: "reference", "parity" or "timing".
            framework: a name of `FRAMEWORKS`.
            task: the network that the framework builds, and how it is trained.
        """
        spec = {**self.common, "work": work, "task": asdict(task), "shapes": parameter_shapes(task)}
        spec |= {"entry": asdict(FRAMEWORKS[framework]), "folder": str(self.folder)}
        spec |= {"num_threads": self.num_threads}
        environment = self._environment(float64=work == "reference")
        return Process(
            spec,
            environment,
            lambda seed: self.on_progress(f"{work}: {framework}, {task.model}, seed {seed}"),
        )

    def _environment(self, float64: bool) -> dict[str, str]:
        """Return an environment with the number of threads, the CPU only, and no cache or setting of JAX."""
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_", "KERAS_"))}
        return {
            **kept,
            **dict.fromkeys(names, str(self.num_threads)),
            # XLA starts a thread for each processor of the process; for one, Eigen needs this flag
            "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false" if self.num_threads == 1 else "",
            "JAX_PLATFORMS": "cpu",
            "JAX_ENABLE_X64": str(float64),
            "JAX_ENABLE_COMPILATION_CACHE": "false",
            "CUDA_VISIBLE_DEVICES": "",
            "KERAS_HOME": str(self.folder / "keras"),
            "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        }


class Process:
    """A process that measures one framework, one seed after the other, until its context ends.

    Args:
        spec: what `make_measure` takes.
        environment: the environment variables of the process.
        on_seed: called with each seed before it is measured.
    """

    def __init__(
        self, spec: Mapping[str, Any], environment: Mapping[str, str], on_seed: Callable[[int], None]
    ) -> None:
        self._spec, self._environment, self._on_seed = spec, environment, on_seed
        self._child: subprocess.Popen[str] | None = None
        self._errors = Path()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()

    def measure(self, seed: int) -> dict[str, Any]:
        """Measure one seed.

        Args:
            seed: seed of the initial parameters and of the order of the batches.

        Returns:
            What the process wrote, with `load_average`, the load of the machine before, and `total_s`, the
            seconds that it took, for the first seed with the start of the process. If the process failed,
            only `{"error": ...}`.
        """
        self._on_seed(seed)
        load, started = os.getloadavg()[0], time.perf_counter()
        lines = [str(seed)]
        if self._child is None:
            self._child = self._start()
            lines.insert(0, json.dumps(self._spec))
        child, timer = self._child, threading.Timer(CHILD_SECONDS, self._child.kill)
        assert child.stdin is not None
        assert child.stdout is not None
        timer.start()
        try:
            with contextlib.suppress(BrokenPipeError):  # the process has ended, and there is no answer
                print(*lines, sep="\n", file=child.stdin, flush=True)
            answer, is_late = child.stdout.readline(), not timer.is_alive()
        finally:
            timer.cancel()
        if answer:
            total_s = time.perf_counter() - started
            return json.loads(answer) | {"load_average": load, "total_s": total_s}
        code = child.wait()
        if is_late:
            return {"error": f"no result after {CHILD_SECONDS} seconds"}
        errors = self._errors.read_text(errors="replace").strip().splitlines() or ["no message"]
        return {"error": f"exit code {code}: {errors[-1]}"}

    def _start(self) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", "research.frameworks.measure"]
        errors, path = tempfile.mkstemp(dir=self._spec["folder"])  # a pipe that nobody reads could fill up
        self._errors = Path(path)
        try:
            with _processors(self._spec["num_threads"]):
                return subprocess.Popen(
                    command,
                    env=self._environment,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                )
        finally:
            os.close(errors)


@contextmanager
def _processors(count: int) -> Iterator[None]:
    """Restrict processes that are started inside to the first `count` processors, if the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(mine)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)
