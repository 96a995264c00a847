"""The comparison of the frameworks: first whether they compute the same, then what training costs in each."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from research import records
from research.data import Dataset
from research.frameworks.base import FRAMEWORKS, OURS, STUDY, Entry, Task
from research.frameworks.config import ComparisonConfig
from research.frameworks.process import Notify, Process, Workplace
from research.records import NOT_IN_THE_RESULT, RecordError, RunResult, Seconds
from research.records.lock import hold
from research.runs.build import build_data
from research.utils.cpus import num_cpus
from research.utils.nested import dotted_keys
from research.utils.strict import to_plain

SMALL: dict[str, dict[str, Any]] = {
    "reference": {"name": "reference"},
    "tiny": {"name": "tiny"},
    "mlp": {"name": "mlp"},
    "mlp 512-512-512": {"name": "mlp", "hidden": [512, 512, 512]},
}
"""Models of the second study, all of them trained by `OURS`, by the names of its arms."""

PARITY = ("gradient_error", "loss_error", "repeatable")
MEASUREMENTS = (*PARITY, "compile_s", "first_step_s", "peak_mib", "load_average")
"""Numbers about a process that the measurements of a result hold."""

FACTS = ("worst_array", "threads", "parameters_sha256", "framework_versions")
"""Facts about a process that the provenance of a result holds."""


class ComparisonError(RuntimeError):
    """The reference that all frameworks are compared with could not be computed."""


@dataclass(frozen=True)
class Measurement:
    """One framework that trains one network from one seed: a run with a folder of its own.

    Args:
        folder: the run's folder.
        config: what `config.yaml` holds.
    """

    folder: Path
    config: dict[str, Any]

    @property
    def framework(self) -> str:
        """The name of the framework."""
        return self.config["framework"]

    @property
    def is_full(self) -> bool:
        """Whether the run belongs to the comparison of the frameworks, which checks the parity."""
        return self.config["study"]["name"] == STUDY

    def read_completed(self, checksum: str) -> RunResult | None:
        """Return the result of the folder's completed run on data with this checksum; None without one.

        Raises:
            ValueError: the folder holds a run with other settings or data, or a damaged one.
        """
        try:
            run = records.read_run(self.folder)
        except FileNotFoundError:
            return None
        except RecordError as error:
            raise ValueError(f"{error}; remove the folder or choose another one") from error
        if _settings(run.config) != _settings(self.config):
            raise ValueError(f"{self.folder} holds a comparison with other settings; choose another folder")
        if run.status != "completed":
            return None
        if run.outcome.provenance.get("data_checksum") != checksum:
            raise ValueError(f"{self.folder} was measured on other data; choose another folder")
        return run.outcome


def compare(config: ComparisonConfig, provenance: Mapping[str, Any], on_progress: Notify) -> Path:
    """Give every framework the same parameters and batches, check that they agree, and then time them.

    Every measurement is a run in a folder of its own, `<out>/<framework>/<seed>`, and every process has
    the same number of threads and processors. A framework has one process for all its seeds, or one for each
    seed (`process_per_seed`). Each seed is a round over all frameworks, every other round in
    the opposite order. The test split is read once, after the last epoch. The validation split is not
    used, because no epoch is chosen. A framework that is not installed, that fails, or that computes
    something else has runs with the status "failed" and a sentence that says why.

    A second call with the same folder and settings measures only what is missing or failed.

    Args:
        config: what is compared; `construct` has checked it.
        provenance: facts that are recorded with every result.
        on_progress: called with a line before each process.

    Returns:
        The folder of the runs, which `research.studies.report` reads.

    Raises:
        ValueError: a number is out of range, or a folder holds a comparison with other settings.
        DataError: the dataset is missing or damaged.
        ComparisonError: the reference could not be computed.
        LockedError: another process measures in the same folder.
    """
    data, training, most = config.data, config.training, num_cpus()
    num_threads = config.num_threads or most
    if num_threads > most:
        raise ValueError(f"num_threads={num_threads}; allowed: 1 to {most}, the processors of this process")
    dataset = build_data(replace(data, in_memory=True))
    most = len(dataset.train.labels)
    if training.batch_size > most:
        raise ValueError(f"batch_size={training.batch_size}; allowed: 1 to {most} for {data.name}")
    facts = {**provenance, "data_checksum": dataset.checksum}
    rounds = plan_rounds(config, num_threads)
    pending, ready, parities = [], [], {}
    for measurement in (m for plan in rounds for m in plan):
        result = measurement.read_completed(dataset.checksum)
        if result is None:
            pending.append(measurement)
        elif measurement.is_full and _is_current(result, FRAMEWORKS[measurement.framework], facts):
            parities[measurement.framework] = _read_parity(result)
    for measurement in pending:
        with hold(measurement.folder):
            records.start_run(measurement.folder, measurement.config)
            entry = FRAMEWORKS[measurement.framework]
            if entry.is_installed:
                ready.append(measurement)
                continue
            missing = {"error": f"not installed; install it with: {entry.install}"}
            records.write_result(measurement.folder, make_result(missing, training.epochs, facts))
    if ready:
        with tempfile.TemporaryDirectory(prefix="frameworks-") as folder:
            workplace = Workplace(Path(folder), to_plain(training), num_threads, on_progress)
            _measure(ready, parities, workplace, dataset, config, facts)
    return Path(config.out)


def plan_rounds(config: ComparisonConfig, num_threads: int) -> list[list[Measurement]]:
    """Return the measurements of each seed, for every other seed in the opposite order."""
    names = list(FRAMEWORKS if config.frameworks is None else config.frameworks)
    common = {
        "data": {key: getattr(config.data, key) for key in ("name", "train_limit", "dir", "cache_dir")},
        "optimizer": {"name": config.optimizer, "learning_rate": config.learning_rate},
        "schedule": {"name": "constant"},
        "training": to_plain(config.training),
        "num_threads": num_threads,
        "process_per_seed": config.process_per_seed,
    }
    plan = {
        "name": STUDY,
        "question": "Do the frameworks compute the same, and what does it cost them?",
        "axis": "framework",
        "arms": names,
        "reference": OURS if OURS in names else None,
    }
    small_plan = {
        "name": "small networks",
        "question": "What do smaller networks, and dense layers alone, reach and cost?",
        "axis": "model",
        "arms": list(SMALL),
        "reference": "reference",
    }
    arms = [(plan, name, name, "reference") for name in names]
    arms += [(small_plan, name, OURS, name) for name in SMALL if config.small]
    rounds = []
    for seed in range(config.seeds):
        measurements = []
        for study, arm, framework, model in arms:
            parent = Path(config.out, "small" if study is small_plan else "", arm.replace(" ", "-"))
            values = {"seed": seed, "framework": framework, "model": SMALL[model], **common}
            measurements.append(Measurement(parent / str(seed), values | {"study": study | {"arm": arm}}))
        rounds.append(measurements[::-1] if seed % 2 else measurements)
    return rounds


def _measure(
    ready: Sequence[Measurement],
    parities: dict[str, dict[str, Any]],
    workplace: Workplace,
    dataset: Dataset,
    config: ComparisonConfig,
    facts: Mapping[str, Any],
) -> None:
    """Check the parity of each framework that is not in `parities`, then time it if it agrees."""
    workplace.share(dataset)
    names = dict.fromkeys(m.framework for m in ready if m.is_full and m.framework not in parities)
    if names:
        reference = _task({"name": "reference"}, config, dataset)
        outcome = workplace.run("reference", "jax_lax", reference)
        if "error" in outcome:
            raise ComparisonError(f"the reference could not be computed: {outcome['error']}")
        parities |= {name: workplace.run("parity", name, reference) for name in names}
    processes: dict[Path, Process] = {}
    with ExitStack() as stack:
        for measurement in ready:
            name, seed, model = (measurement.config[key] for key in ("framework", "seed", "model"))
            with hold(measurement.folder):
                outcome = parities[name] if measurement.is_full else {}
                if not outcome.get("error"):
                    task, arm = _task(model, config, dataset), measurement.folder.parent
                    outcome = {key: outcome[key] for key in (*PARITY, "worst_array") if key in outcome}
                    if config.process_per_seed:
                        outcome = outcome | workplace.run("timing", name, task, seed)
                    else:
                        if arm not in processes:
                            processes[arm] = stack.enter_context(workplace.start("timing", name, task))
                        outcome = outcome | processes[arm].measure(seed)
                    if outcome.get("error") and measurement.is_full:
                        parities[name] = outcome  # later rounds leave this framework out
                records.write_result(measurement.folder, make_result(outcome, config.training.epochs, facts))


def _task(model: Mapping[str, Any], config: ComparisonConfig, dataset: Dataset) -> Task:
    """Return the network that a framework builds, and how the framework trains it."""
    arguments = {key: value for key, value in model.items() if key != "name"}
    shapes = (dataset.image_shape, dataset.num_classes)
    return Task(*shapes, config.optimizer, config.learning_rate, model["name"], arguments)


def make_result(outcome: Mapping[str, Any], epochs: int, facts: Mapping[str, Any]) -> RunResult:
    """Return the result of a run.

    Args:
        outcome: what the processes of parity and of timing wrote; `error` says why a run failed.
        epochs: number of epochs of a run that completed.
        facts: provenance that all runs share.
    """
    numbers = {key: outcome[key] for key in MEASUREMENTS if key in outcome}
    measured = {key: n if n is None or math.isfinite(n) else None for key, n in numbers.items()}
    provenance = {**facts, **{key: outcome[key] for key in FACTS if key in outcome}}
    if outcome.get("error"):
        error = str(outcome["error"])
        return RunResult("failed", error, exit_code=1, measurements=measured, provenance=provenance)
    return RunResult(
        "completed",
        test_accuracy=outcome["accuracy"],
        epochs=epochs,
        num_parameters=outcome["num_parameters"],
        seconds=Seconds(outcome.get("compile_s") or 0.0, outcome["train_s"], outcome["total_s"]),
        images_per_s=outcome["images_per_s"],
        measurements=measured,
        provenance=provenance | {"versions": {**facts.get("versions", {}), **outcome["framework_versions"]}},
    )


def _is_current(result: RunResult, entry: Entry, facts: Mapping[str, Any]) -> bool:
    """Return whether a result was measured with the code and the versions that are installed now."""
    if not entry.is_installed or result.provenance.get("commit") != facts.get("commit"):
        return False
    return result.provenance["versions"] == {**facts.get("versions", {}), **entry.versions}


def _read_parity(result: RunResult) -> dict[str, Any]:
    """Return what the process of parity wrote, from the result of a completed run."""
    measured = {key: result.measurements[key] for key in PARITY}
    return measured | {"worst_array": result.provenance["worst_array"]}


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that two measurements of one comparison share, by dotted key."""
    settings = dotted_keys({key: value for key, value in config.items() if key != "study"})
    return {key: value for key, value in settings.items() if key not in NOT_IN_THE_RESULT}
