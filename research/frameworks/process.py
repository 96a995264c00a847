"""The processes of the comparison, each with the same threads, processors and environment."""

import json
import os
import subprocess
import sys
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
"""A function that shows a line of text, which says which process begins."""


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
        """Run one process.

        Args:
            work: "reference", "parity" or "timing".
            framework: a name of `FRAMEWORKS`.
            task: the network that the framework builds, and how it is trained.
            seed: seed of the initial parameters and of the order of the batches.

        Returns:
            What the process wrote, with `load_average`, the load of the machine before the process, and
            `total_s`, the seconds that the process took. If the process failed, only `{"error": ...}`.
        """
        spec = {**self.common, "work": work, "task": asdict(task), "shapes": parameter_shapes(task)}
        spec |= {"entry": asdict(FRAMEWORKS[framework]), "folder": str(self.folder), "seed": seed}
        spec |= {"num_threads": self.num_threads}
        self.on_progress(f"{work}: {framework}, {task.model}, seed {seed}")
        spec_path, result_path = self.folder / "spec.json", self.folder / "result.json"
        spec_path.write_text(json.dumps(spec))
        result_path.unlink(missing_ok=True)
        command = [sys.executable, "-m", "research.frameworks.measure", str(spec_path), str(result_path)]
        environment = self._environment(float64=work == "reference")
        load, started = os.getloadavg()[0], time.perf_counter()
        try:
            with _processors(self.num_threads):
                child = subprocess.run(
                    command, env=environment, capture_output=True, timeout=CHILD_SECONDS, errors="replace"
                )
        except subprocess.TimeoutExpired:
            return {"error": f"no result after {CHILD_SECONDS} seconds"}
        if child.returncode or not result_path.exists():
            lines = child.stderr.strip().splitlines() or ["no message"]
            return {"error": f"exit code {child.returncode}: {lines[-1]}"}
        total_s = time.perf_counter() - started
        return json.loads(result_path.read_text()) | {"load_average": load, "total_s": total_s}

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
