"""The provenance of the numbers of a run: code, versions and machine."""

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jax

from research.records import RecordError, RunResult
from research.records.flags import describe_other_flags
from research.utils.cpus import num_cpus

PACKAGES = ("cnn-research", "jax", "jaxlib", "numpy", "optax", "flax")

XLA_VARIABLES = ("LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE")
"""Environment variables in addition to XLA_FLAGS that change how XLA computes."""


def provenance(data_checksum: str) -> dict[str, Any]:
    """Return the code, the machine, the devices and the checksum of the data of a run. This starts JAX."""
    device = jax.devices()[0]
    kind = _cpu_model() if device.platform == "cpu" else device.device_kind
    return code_and_machine() | {
        "device": f"{device.platform}: {kind}",
        "num_devices": jax.device_count(),
        "data_checksum": data_checksum,
    }


def code_and_machine() -> dict[str, Any]:
    """Return the commit, versions, processor and command, without starting JAX.

    `commit` and `dirty` are `None` outside of a git checkout. They are read once in a process, whose code
    does not change any more.
    """
    return _constant() | {
        "xla_flags": xla_flags(),
        "command": shlex.join(["python", *sys.argv]),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@cache
def _constant() -> dict[str, Any]:
    """Return what is the same for all runs of this process."""
    commit, status = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    return {
        "commit": commit,
        "dirty": None if status is None else bool(status),
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "platform": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu_model(),
        "cpu_count": num_cpus(),
    }


def xla_flags() -> str:
    """Return XLA_FLAGS, and the other settings of XLA that no block can scope and that can change numbers."""
    set_here = [os.environ.get("XLA_FLAGS", "")]
    set_here += [f"{name}={os.environ[name]}" for name in XLA_VARIABLES if os.environ.get(name)]
    set_here += ["JAX_DISABLE_MOST_OPTIMIZATIONS"] * bool(
        jax.config.values.get("jax_disable_most_optimizations")
    )
    return " ".join(set_here).strip()


def refuse_other_flags(folder: Path, outcome: RunResult) -> None:
    """Raise an error if a run was made with flags of XLA whose numbers could differ from those of today.

    Args:
        folder: the folder of the run, which the error names.
        outcome: the result of the run.

    Raises:
        RecordError: the flags differ.
    """
    now = xla_flags()
    if sentence := describe_other_flags(folder, outcome.provenance.get("xla_flags", now), now):
        raise RecordError(sentence)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    folder = Path(__file__).parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


@cache
def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
