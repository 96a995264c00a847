"""The work of one process: `python -m research.frameworks.measure`.

It reads a line with the specification, as JSON, and then a line with each seed from its standard input. It
writes a line with the result of each seed, as JSON, to its standard output. The process that compares starts
it with the threads, the processors and the environment that hold for all. It trains in one framework only, so
that its memory and its first step are that framework's own.
"""

import dataclasses
import hashlib
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from research.frameworks.base import Arrays, Entry, Framework, Task
from research.frameworks.parity import (
    compare_steps,
    draw_weights,
    first_batches,
    first_steps,
    is_repeatable,
    make_order,
    predict_all,
)


def make_measure(spec: Mapping[str, Any]) -> Callable[[int], dict[str, Any]]:
    """Build the framework, and return a function that measures one seed.

    Args:
        spec: `work` ("reference", "parity" or "timing"), `entry` and `task` (fields of `Entry` and
            `Task`), `folder` (of the arrays that all processes share), `shapes` (of the parameters by
            path), `epochs`, `batch_size`, `num_threads`.

    Returns:
        A function that returns what `write_reference`, `check_parity` or `time_training` returns, with
        `threads` and `framework_versions`, and for its first seed with `peak_mib`, the most memory that the
        process had resident.
    """
    entry = Entry(**spec["entry"])
    threads = set_threads(entry.packages, spec["num_threads"])
    # PyTorch's own memory does not include JAX, which the process has only because the layers import it
    not_its_own = mib_of_layers() if entry.builds_layers and "jax" not in entry.packages else 0.0
    framework = entry.build(Task(**spec["task"]))
    data = read_arrays(Path(spec["folder"]) / "data.npz")
    for split in ("train", "test"):
        data[f"{split}_images"] = data[f"{split}_images"].astype(np.float32) / 255
    work = {"reference": write_reference, "parity": check_parity, "timing": time_training}[spec["work"]]
    facts = {"threads": threads, "framework_versions": entry.versions}
    is_first = True

    def measure(seed: int) -> dict[str, Any]:
        nonlocal is_first
        outcome = work(framework, data, {**spec, "seed": seed, "is_first": is_first}) | facts
        if is_first:
            # VmHWM is read on Linux, because the maximum of getrusage starts from that of the parent process
            outcome["peak_mib"] = memory_mib("VmHWM") - not_its_own
        is_first = False
        return outcome

    return measure


def write_reference(framework: Any, data: Arrays, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Compute the reference of all frameworks in float64 by JAX, and write it to `reference.npz`."""
    images, labels = data["train_images"].astype(np.float64), data["train_labels"]
    params = {key: array.astype(np.float64) for key, array in _params(spec).items()}
    batches = first_batches(spec["seed"], len(labels), spec["batch_size"])
    gradients, losses = first_steps(framework, params, images, labels, batches)
    reference: dict[str, Any] = {"losses": losses, **gradients}
    np.savez(Path(spec["folder"]) / "reference.npz", allow_pickle=False, **reference)
    return {"losses": losses.tolist()}


def check_parity(framework: Framework, data: Arrays, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields and the error of `Parity`, and `repeatable`, which is 1 or 0."""
    batches = first_batches(spec["seed"], len(data["train_labels"]), spec["batch_size"])
    images, labels = data["train_images"], data["train_labels"]
    params = _params(spec)
    gradients, losses = first_steps(framework, params, images, labels, batches)
    reference_gradients = read_arrays(Path(spec["folder"]) / "reference.npz")
    reference_losses = reference_gradients.pop("losses")
    parity = compare_steps(gradients, losses, reference_gradients, reference_losses)
    repeatable = is_repeatable(framework, params, images, labels, batches[0, :10])
    return dataclasses.asdict(parity) | {"error": parity.error, "repeatable": float(repeatable)}


def time_training(framework: Framework, data: Arrays, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Train from the shared parameters over the shared batches.

    Returns:
        A dict with `accuracy`, on the test split after the last epoch, in [0, 1]; `train_s`, the seconds of
        the training, without compilation; `images_per_s`; `num_parameters`; and `parameters_sha256`, the
        checksum of the bits of the trained parameters. The first seed of a process, after which everything
        is compiled, also has `compile_s`, the seconds of compilation before the training, `None` without
        compilation; and `first_step_s`, the seconds from loaded parameters to the end of the first update,
        with compilation.
    """
    images, labels = data["train_images"], data["train_labels"]
    params = _params(spec)
    order = make_order(spec["seed"], spec["epochs"], len(labels), spec["batch_size"])
    first: dict[str, float | None] = {}
    if spec["is_first"]:
        framework.load(params)
        started = time.perf_counter()
        first["compile_s"] = framework.compile(images, labels, order)
        framework.train(images, labels, order[:1, :1])
        first["first_step_s"] = time.perf_counter() - started
    framework.load(params)
    started = time.perf_counter()
    framework.train(images, labels, order)
    train_s = time.perf_counter() - started
    correct = predict_all(framework, data["test_images"]).argmax(axis=1) == data["test_labels"]
    return first | {
        "accuracy": float(correct.mean()),
        "train_s": train_s,
        "images_per_s": order.size / train_s,
        "num_parameters": sum(p.size for p in params.values()),
        "parameters_sha256": sha256(framework.parameters()),
    }


def set_threads(packages: Sequence[str], num_threads: int) -> dict[str, Any]:
    """Set the threads that only the framework itself can set, and return the limits of this process."""
    limits: dict[str, Any] = {key: os.environ.get(key) for key in ("OMP_NUM_THREADS", "XLA_FLAGS")}
    if hasattr(os, "sched_getaffinity"):
        limits["processors"] = sorted(os.sched_getaffinity(0))
    if "torch" in packages:
        import torch

        torch.set_num_threads(num_threads)
        limits["torch"] = torch.get_num_threads()
    return {"num_threads": num_threads} | limits


def mib_of_layers() -> float:
    """Import the layers, which start JAX, and return how much more memory is resident afterwards, in MiB."""
    before = memory_mib("VmRSS")
    importlib.import_module("research.models")
    return memory_mib("VmRSS") - before


def memory_mib(name: str) -> float:
    """Return a number of `/proc/self/status` in MiB; on other systems, the maximum of `getrusage`."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith(name))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS


def sha256(arrays: Arrays) -> str:
    """Return the sha256 of the bits of named arrays."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def read_arrays(path: Path) -> Arrays:
    """Return the arrays of an npz file by name."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def _params(spec: Mapping[str, Any]) -> Arrays:
    return draw_weights(spec["shapes"], spec["seed"])


def main() -> None:
    """Measure each seed that comes in."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a framework prints is no answer
    measure = make_measure(json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        print(json.dumps(measure(int(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
