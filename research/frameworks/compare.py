"""The comparison of the frameworks: whether they compute the same, and then what training costs in each."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from research import records
from research.data import Dataset, load_dataset
from research.frameworks.base import FRAMEWORKS, OPTIMIZERS, OURS, STUDY
from research.frameworks.parity import Parity
from research.frameworks.process import Workplace, check_threads
from research.records import NOT_IN_THE_RESULT, RecordError, RunResult, Seconds
from research.records.lock import hold
from research.utils.lookup import lookup
from research.utils.nested import dotted_keys

SMALL_STUDY = "small networks"
"""Name of the study of the networks of ``SMALL``, all of them trained by ``OURS``."""

SMALL: dict[str, dict[str, Any]] = {
    "reference": {"name": "reference"},
    "tiny": {"name": "tiny"},
    "mlp": {"name": "mlp"},
    "mlp 512-512-512": {"name": "mlp", "hidden": [512, 512, 512]},
}
"""Models of the second study by the names of its arms."""

PLANS: dict[str, dict[str, Any]] = {
    STUDY: {
        "name": STUDY,
        "question": "Do the frameworks compute the same, and what does it cost them?",
        "axis": "framework",
    },
    SMALL_STUDY: {
        "name": SMALL_STUDY,
        "question": "What do smaller networks, and dense layers alone, reach and cost?",
        "axis": "model",
    },
}


class ComparisonError(RuntimeError):
    """The reference that all frameworks are compared with could not be computed."""


@runtime_checkable
class Notify(Protocol):
    """A function that is told what begins."""

    def __call__(self, line: str, /) -> None:
        """Show one line."""
        ...


@dataclass(frozen=True)
class Measurement:
    """One framework that trains one network from one seed: a run with a folder of its own.

    Args:
        folder: the run's folder.
        config: what ``config.yaml`` holds.
        weights: name of the network whose initial parameters it takes.
    """

    folder: Path
    config: dict[str, Any]
    weights: str = "reference"

    @property
    def framework(self) -> str:
        """The name of the framework."""
        return self.config["framework"]

    @property
    def seed(self) -> int:
        """The seed of the initial parameters and of the order of the batches."""
        return self.config["seed"]

    def recorded(self) -> RunResult | None:
        """Return the result that the folder holds, or ``None`` if there is none.

        Raises:
            ValueError: the folder holds a run with other settings, or a damaged one.
        """
        try:
            run = records.read_run(self.folder)
        except FileNotFoundError:
            return None
        except RecordError as error:
            raise ValueError(f"{error}; remove the folder or choose another one") from error
        if _settings(run.config) != _settings(self.config):
            raise ValueError(f"{self.folder} holds a comparison with other settings; choose another folder")
        return run.result


def compare(
    data_name: str,
    *,
    out_dir: Path,
    data_dir: str | None = None,
    cache_dir: str | None = None,
    train_limit: int | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    epochs: int = 3,
    batch_size: int = 128,
    learning_rate: float = 1e-3,
    optimizer: str = "adam",
    frameworks: Sequence[str] | None = None,
    small: bool = True,
    num_threads: int | None = None,
    provenance: Mapping[str, Any] | None = None,
    on_progress: Notify = lambda line: None,
) -> Path:
    """Give every framework the same parameters and batches, check that they agree, and then time them.

    Every measurement is a run in a folder of its own, ``<out_dir>/<framework>/<seed>``, and every process has
    the same number of threads and processors. Each seed is a round over all frameworks, every other round in
    the opposite order. The training split is trained on and the test split is read once, after the last
    epoch: nothing is chosen in between. A framework that is not installed, that fails, or that computes
    something else has runs with the status "failed" and a sentence that says why.

    A second call with the same folder and settings measures only what is missing or failed.

    Args:
        data_name: a key of ``DATASETS``.
        out_dir: folder of the runs; made if it does not exist.
        data_dir, cache_dir, train_limit: as for ``load_dataset``.
        seeds: seeds of the initial parameters and of the order of the batches; one round each.
        epochs: passes over the training split.
        batch_size: examples per step.
        learning_rate: step size, constant over the run.
        optimizer: a name of ``OPTIMIZERS``.
        frameworks: names of ``FRAMEWORKS``; ``None`` for all.
        small: also measure the networks of ``SMALL``.
        num_threads: threads and processors of each process; ``None`` for all that this process may use.
        provenance: facts that are recorded with every result.
        on_progress: called with a line before each process.

    Returns:
        ``out_dir``, which `research.studies.report` reads.

    Raises:
        ValueError: an unknown name, a number out of range, or a folder with a comparison of other settings.
        DataError: the dataset is missing or damaged.
        ComparisonError: the reference could not be computed.
        LockedError: another process measures in the same folder.
    """
    names = list(FRAMEWORKS) if frameworks is None else list(frameworks)
    for name in names:
        lookup(FRAMEWORKS, name, "framework")
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer={optimizer!r}; the frameworks share: {', '.join(OPTIMIZERS)}")
    num_threads = check_threads(num_threads)
    dataset = load_dataset(data_name, data_dir=data_dir, cache_dir=cache_dir, train_limit=train_limit)
    if not 1 <= batch_size <= len(dataset.train.labels):
        raise ValueError(
            f"batch_size={batch_size}; allowed: 1 to {len(dataset.train.labels)} for {data_name}"
        )
    if epochs < 1 or not seeds:
        raise ValueError(f"epochs={epochs} and {len(seeds)} seeds; allowed: at least one of each")
    common = {
        "data": {"name": data_name, "train_limit": train_limit, "dir": data_dir, "cache_dir": cache_dir},
        "optimizer": {"name": optimizer, "learning_rate": learning_rate},
        "schedule": {"name": "constant"},
        "training": {"epochs": epochs, "batch_size": batch_size},
        "num_threads": num_threads,
    }
    rounds = plan_rounds(out_dir, seeds, names, small=small, common=common)
    facts = {**(provenance or {}), "data_checksum": dataset.checksum}
    pending = [[m for m in plan if not _is_done(m, dataset.checksum)] for plan in rounds]
    for measurement in _each(pending):
        with hold(measurement.folder):
            records.start_run(measurement.folder, measurement.config)
    with tempfile.TemporaryDirectory(prefix="frameworks-") as scratch:
        first = {"seed": seeds[0], "epochs": epochs, "batch_size": batch_size}
        _measure(pending, Workplace(Path(scratch), first, num_threads, on_progress), dataset, seeds, facts)
    return out_dir


def plan_rounds(
    out_dir: Path, seeds: Sequence[int], names: Sequence[str], *, small: bool, common: Mapping[str, Any]
) -> list[list[Measurement]]:
    """Return the measurements of each seed, for every other seed in the opposite order."""
    rounds = [_plan_round(out_dir, seed, names, small, common) for seed in seeds]
    return [plan[::-1] if index % 2 else plan for index, plan in enumerate(rounds)]


def _plan_round(
    out_dir: Path, seed: int, names: Sequence[str], small: bool, common: Mapping[str, Any]
) -> list[Measurement]:
    """Return the measurements of one seed."""
    plan = PLANS[STUDY] | {"arms": list(names), "reference": OURS if OURS in names else None}
    found = []
    for name in names:
        config = {"seed": seed, "framework": name, "model": SMALL["reference"], **common}
        found.append(Measurement(out_dir / name / str(seed), config | {"study": plan | {"arm": name}}))
    plan = PLANS[SMALL_STUDY] | {"arms": list(SMALL), "reference": "reference"}
    for name, model in SMALL.items() if small else ():
        config = {"seed": seed, "framework": OURS, "model": model, **common}
        folder = out_dir / "small" / name.replace(" ", "-") / str(seed)
        found.append(Measurement(folder, config | {"study": plan | {"arm": name}}, name))
    return found


def _is_done(measurement: Measurement, checksum: str) -> bool:
    """Return whether a measurement is recorded; one that failed is measured again.

    Raises:
        ValueError: the folder holds another configuration, or the data changed.
    """
    result = measurement.recorded()
    if result is None or result.status != "completed":
        return False
    if result.provenance.get("data_checksum") != checksum:
        raise ValueError(f"{measurement.folder} was measured on other data; choose another folder")
    return True


def _measure(
    pending: Sequence[Sequence[Measurement]],
    workplace: Workplace,
    dataset: Dataset,
    seeds: Sequence[int],
    facts: Mapping[str, Any],
) -> None:
    """Check the parity of every framework that is to be timed, then time it, and write the results."""
    installed = [[m for m in plan if FRAMEWORKS[m.framework].is_installed] for plan in pending]
    for measurement in _each(pending):
        entry = FRAMEWORKS[measurement.framework]
        if not entry.is_installed:
            records.write_result(
                measurement.folder, _failed(f"not installed; install it with: {entry.install}", facts)
            )
    if not any(installed):
        return
    workplace.share(dataset)
    tasks = {m.weights: _task(m.config, dataset) for m in _each(installed)}
    reference = _task(next(_each(installed)).config | {"model": SMALL["reference"]}, dataset)
    outcome = workplace.run(
        "reference", "jax_lax", reference, networks={"reference": reference} | tasks, seeds=list(seeds)
    )
    if "error" in outcome:
        raise ComparisonError(f"the reference could not be computed: {outcome['error']}")
    names = [m.framework for m in _each(installed) if m.config["study"]["name"] == STUDY]
    parities = {name: workplace.run("parity", name, reference) for name in dict.fromkeys(names)}
    for measurement in _each(installed):
        with hold(measurement.folder):
            is_small = measurement.config["study"]["name"] == SMALL_STUDY
            parity = {"holds": True} if is_small else parities[measurement.framework]
            if not parity.get("holds"):
                result = _failed(_why_not(parity), facts, parity)
            else:
                result = _result(_train(workplace, measurement, tasks), parity, measurement.config, facts)
                if result.status == "failed" and not is_small:
                    parities[measurement.framework] = {"error": result.error}  # no more rounds
            records.write_result(measurement.folder, result)


def _each(rounds: Sequence[Sequence[Measurement]]) -> Iterator[Measurement]:
    return (measurement for plan in rounds for measurement in plan)


def _train(
    workplace: Workplace, measurement: Measurement, tasks: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """Run the process of one measurement and return what it wrote."""
    weights = measurement.weights
    return workplace.run(
        "timing", measurement.framework, tasks[weights], seed=measurement.seed, weights=weights
    )


def _task(config: Mapping[str, Any], dataset: Dataset) -> dict[str, Any]:
    """Return the fields of the `Task` of a configuration."""
    arguments = {key: value for key, value in config["model"].items() if key != "name"}
    return {
        "image_shape": dataset.image_shape,
        "num_classes": dataset.num_classes,
        "optimizer": config["optimizer"]["name"],
        "learning_rate": config["optimizer"]["learning_rate"],
        "model": config["model"]["name"],
        "model_arguments": arguments,
    }


def _why_not(parity: Mapping[str, Any]) -> str:
    """Return one sentence that says why a framework is not timed."""
    if "error" in parity:
        return str(parity["error"])
    return Parity.explain(parity["gradient_error"], parity["worst_array"], parity["loss_error"])


def _failed(error: str, facts: Mapping[str, Any], parity: Mapping[str, Any] | None = None) -> RunResult:
    """Return the result of a framework that is not timed."""
    own = {"worst_array": parity["worst_array"]} if parity and "worst_array" in parity else {}
    return RunResult(
        "failed", error, exit_code=1, measurements=_errors(parity or {}), provenance={**facts, **own}
    )


def _errors(parity: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the measurements that say how far a framework is from the reference."""
    numbers = {key: parity[key] for key in ("gradient_error", "loss_error") if key in parity}
    return numbers | ({"repeatable": float(parity["repeatable"])} if "repeatable" in parity else {})


def _result(
    outcome: Mapping[str, Any], parity: Mapping[str, Any], config: Mapping[str, Any], facts: Mapping[str, Any]
) -> RunResult:
    """Return the result of a run whose process wrote ``outcome``."""
    if "error" in outcome:
        return _failed(str(outcome["error"]), facts, parity)
    keys = ("compile_s", "first_step_s", "peak_mib", "load_average")
    versions = {**facts.get("versions", {}), **outcome["versions"]}
    own = {key: outcome[key] for key in ("threads", "parameters_sha256")}
    if "worst_array" in parity:
        own["worst_array"] = parity["worst_array"]
    return RunResult(
        "completed",
        test_accuracy=outcome["accuracy"],
        epochs=config["training"]["epochs"],
        num_parameters=outcome["num_parameters"],
        seconds=Seconds(outcome["compile_s"] or 0.0, outcome["train_s"], outcome["total_s"]),
        images_per_s=outcome["images_per_s"],
        measurements=_errors(parity) | {key: outcome[key] for key in keys},
        provenance={**facts, **own, "versions": versions, "framework_versions": outcome["versions"]},
    )


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that two measurements of one comparison share, by dotted key."""
    settings = dotted_keys({key: value for key, value in config.items() if key != "study"})
    return {key: value for key, value in settings.items() if key not in NOT_IN_THE_RESULT}
