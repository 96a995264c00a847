"""The processes of the comparison: the same threads, processors and environment for each."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from research.data import Dataset
from research.frameworks.base import FRAMEWORKS
from research.utils.cpus import num_cpus

CHILD_SECONDS = 6 * 3600


@dataclass(frozen=True)
class Workplace:
    """Where the processes of a comparison find what they share, and how they are started.

    Args:
        folder: for the shared arrays.
        common: the part of each process's specification that is the same for all.
        num_threads: for every process.
        on_progress: called with a line before each process.
    """

    folder: Path
    common: Mapping[str, Any]
    num_threads: int
    on_progress: Callable[[str], None] = lambda line: None

    def share(self, dataset: Dataset) -> None:
        """Write the training and the test split for all processes."""
        splits = {"train": dataset.train, "test": dataset.test}
        arrays = {f"{s}_{key}": a for s, split in splits.items() for key, a in split._asdict().items()}
        np.savez(self.folder / "data.npz", allow_pickle=False, **arrays)

    def run(self, work: str, framework: str, task: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """Run one process and return what it wrote and the load before it, or ``{"error": ...}``."""
        spec = {**self.common, "weights": "reference", **more}
        spec |= {"work": work, "entry": asdict(FRAMEWORKS[framework]), "task": dict(task)}
        spec |= {"folder": str(self.folder), "num_threads": self.num_threads}
        self.on_progress(f"{work}: {framework}, {task.get('model', 'reference')}, seed {spec['seed']}")
        spec_path, result_path = self.folder / "spec.json", self.folder / "result.json"
        spec_path.write_text(json.dumps(spec))
        result_path.unlink(missing_ok=True)
        command = [sys.executable, "-m", "research.frameworks.measure", str(spec_path), str(result_path)]
        load = os.getloadavg()[0]
        try:
            with _processors(self.num_threads):
                child = subprocess.run(
                    command,
                    env=self._environment(float64=work == "reference"),
                    capture_output=True,
                    text=True,
                    errors="replace",
                    timeout=CHILD_SECONDS,
                )
        except subprocess.TimeoutExpired:
            return {"error": f"no result after {CHILD_SECONDS} seconds"}
        if child.returncode or not result_path.exists():
            lines = child.stderr.strip().splitlines() or ["no message"]
            return {"error": f"exit code {child.returncode}: {lines[-1]}"}
        return json.loads(result_path.read_text()) | {"load_average": load}

    def _environment(self, float64: bool) -> dict[str, str]:
        """As many threads for all, the CPU only, nothing compiled before, no settings of the user's."""
        names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        return (
            {
                key: value
                for key, value in os.environ.items()
                if not key.startswith(("JAX_", "XLA_", "KERAS_"))
            }
            | dict.fromkeys(names, str(self.num_threads))
            | {
                # XLA has a thread for each processor that the process may use; with one, Eigen is told, too
                "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false" if self.num_threads == 1 else "",
                "JAX_PLATFORMS": "cpu",
                "JAX_ENABLE_X64": str(float64),
                "JAX_ENABLE_COMPILATION_CACHE": "false",
                "CUDA_VISIBLE_DEVICES": "",
                "KERAS_HOME": str(self.folder / "keras"),
                "PYTHONPATH": os.pathsep.join(path for path in paths if path),
            }
        )


@contextmanager
def _processors(count: int) -> Iterator[None]:
    """Let the processes started meanwhile use the first ``count`` processors only, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(mine)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, mine)


def check_threads(num_threads: int | None) -> int:
    """How many threads to use: those asked for, or one per processor this process may use."""
    most = num_cpus()
    if num_threads is None:
        return most
    if not 1 <= num_threads <= most:
        raise ValueError(f"num_threads={num_threads}; allowed: 1 to {most}, the processors of this process")
    return num_threads
