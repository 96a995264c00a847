"""The reading of studies from the folders of runs: the runs of each arm, and the runs that are missing."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from research.records import RecordError, Run, find_runs
from research.records.flags import describe_other_flags
from research.records.search import SearchRecord, read_search
from research.studies.differing_keys import describe_settings, differing_keys
from research.studies.replicates import Replicate, in_order, is_fold, replicate_of, seed_of
from research.studies.statistics import Contrast, Summary, compare, summarize

DATA_KEYS = (  # these decide the checksum of the data
    *("data.name", "data.classes", "data.test_fraction", "data.split_seed", "data.folds"),
    *("data.image_size", "data.resizing", "data.channels", "data.skip_damaged"),
)
FIRST, LAST = ("depth", "activation", "optimizer"), ("frameworks", "small networks")  # studies in a report
TUNED_KEYS = ("optimizer.learning_rate", "optimizer.weight_decay")  # trials of one arm differ in these

NOT_INSTALLED = "not installed"
"""The first words of the error of a run whose framework is not installed."""


@dataclass(frozen=True)
class Arm:
    """The runs of one arm of a study. In a cross-validation, a fold of a seed stands where "seed" is said.

    Args:
        name: name of the arm in the study.
        runs: one run per seed, completed or not, in the order of their seeds.
        repeated: earlier runs with the same seed; the report shows them, and no statistic counts them.
        absent: planned seeds without a folder.
        planned: whether the study's config lists this arm.
    """

    name: str
    runs: tuple[Run, ...] = ()
    repeated: tuple[Run, ...] = ()
    absent: tuple[Replicate, ...] = ()
    planned: bool = True

    @cached_property
    def completed(self) -> dict[Replicate, Run]:
        """Return the completed runs by seed."""
        return {replicate_of(run): run for run in self.runs if run.status == "completed"}

    @cached_property
    def accuracies(self) -> dict[Replicate, float]:
        """Return the test accuracy in [0, 1] of each completed run, by seed."""
        accuracies = {seed: run.outcome.test_accuracy for seed, run in self.completed.items()}
        return {seed: accuracy for seed, accuracy in accuracies.items() if accuracy is not None}

    @cached_property
    def summary(self) -> Summary:
        """Return mean, deviation and interval of the test accuracy."""
        return summarize(list(self.accuracies.values()), overlap=self.overlap)

    @cached_property
    def overlap(self) -> float:
        """Return the number of test images divided by that of training images in a cross-validation.

        It is 0 for runs that are no folds.
        """
        if not any(is_fold(run) for run in self.runs):
            return 0.0
        test, train = self.measured("num_test"), self.measured("num_train")
        return float(np.mean([test[fold] / train[fold] for fold in test])) if test else 0.0

    @cached_property
    def not_completed(self) -> Counter[str]:
        """Return the number of runs that did not complete by status.

        A run without a folder is missing, and a run of a framework that is not there is not installed.
        """
        counts = Counter(
            NOT_INSTALLED if run.outcome.error and run.outcome.error.startswith(NOT_INSTALLED) else run.status
            for run in self.runs
            if run.status != "completed"
        )
        return counts + Counter(missing=len(self.absent))

    @cached_property
    def num_parameters(self) -> int | None:
        """Return the number of trainable parameters; ``None`` if no run completed."""
        counts = [run.outcome.num_parameters for run in self.completed.values()]
        return int(np.median([count for count in counts if count is not None])) if any(counts) else None

    def measured(self, name: str) -> dict[Replicate, float]:
        """Return a number among the measurements of each completed run that has it, by seed."""
        found = {seed: run.outcome.measurements.get(name) for seed, run in self.completed.items()}
        return {seed: value for seed, value in found.items() if value is not None}

    @property
    def train_seconds(self) -> dict[Replicate, float]:
        """Return the seconds of training of each completed run, by seed."""
        found = {seed: run.outcome.seconds for seed, run in self.completed.items()}
        return {seed: seconds.train for seed, seconds in found.items() if seconds is not None}

    def seconds(self, part: str) -> list[float]:
        """Return the seconds that each completed run spent on ``compile``, ``train`` or ``total``."""
        found = [run.outcome.seconds for run in self.completed.values()]
        return [float(getattr(seconds, part)) for seconds in found if seconds is not None]

    def setting(self, key: str | None) -> Any:
        """Return the arm's value of a dotted key; ``None`` if the arm has no run or no such key."""
        return self.runs[0].settings.get(key) if key and self.runs else None


@dataclass(frozen=True)
class StudyResults:
    """Arms that answer one question, and their comparison.

    Args:
        title: name of the study, with the settings in which it differs from other studies of that name.
        arms: the planned arms in the order of the plan, then the arms that only the runs name.
        name: name in the config; ``None`` for runs that belong to no study.
        question: what the study asks.
        axis: dotted config key along which the arms differ.
        reference: arm that the others are compared with.
        trials: the trials that chose the rates of the arms by validation accuracy; no statistic counts them.
        earlier: the runs of earlier stages, from whose parameters the runs start; no statistic counts them.
    """

    title: str
    arms: tuple[Arm, ...]
    name: str | None = None
    question: str | None = None
    axis: str | None = None
    reference: str | None = None
    trials: tuple[Run, ...] = ()
    earlier: tuple[Run, ...] = ()

    @cached_property
    def search(self) -> SearchRecord | None:
        """Return the record of the search that the trials belong to; ``None`` for any other study."""
        return read_search(self.trials[0].path.parent) if self.trials else None

    @cached_property
    def runs(self) -> list[Run]:
        """Return every run of the arms, with the repeated ones."""
        return [run for arm in self.arms for run in (*arm.runs, *arm.repeated)]

    @cached_property
    def contrasts(self) -> dict[str, Contrast]:
        """Return the contrast of each planned arm with the reference; empty without a reference."""
        judged = [arm for arm in self.arms if arm.planned and arm.name != self.reference]
        if not any(arm.planned and arm.name == self.reference for arm in self.arms):
            return {}
        return compare({arm.name: paired(self, arm) for arm in judged}, overlap=self.overlap)

    @cached_property
    def overlap(self) -> float:
        """Return the `overlap` of the arms that `compare` needs; infinite if the folds follow the time."""
        if any(arm.setting("data.folds") and arm.setting("data.time") for arm in self.arms):
            return np.inf
        return max((arm.overlap for arm in self.arms), default=0.0)

    @property
    def replicates(self) -> str:
        """Return what the runs of an arm differ in, as a word: seeds or folds."""
        return "folds" if any(is_fold(run) for run in self.runs) else "seeds"


def paired(study: StudyResults, arm: Arm) -> list[float]:
    """Return the test accuracy of an arm minus that of the reference, for each seed that both completed."""
    reference = next((other.accuracies for other in study.arms if other.name == study.reference), {})
    return differences(arm.accuracies, reference)


def differences(values: Mapping[Replicate, float], others: Mapping[Replicate, float]) -> list[float]:
    """Return the value minus the other one, for each seed that both have."""
    return [values[seed] - others[seed] for seed in sorted(values.keys() & others)]


def highest_first(arms: Iterable[Arm]) -> list[Arm]:
    """Return arms sorted by their mean test accuracy; arms without a mean come last."""
    return sorted(arms, key=lambda arm: -arm.summary.mean if arm.summary.n else np.inf)


def read_studies(*folders: str | Path) -> list[StudyResults]:
    """Read all runs below some folders, each run once, and group them into studies and arms.

    If the runs of an arm differ in more than the seed, such as in the dataset, they belong to several studies
    of the same name. Runs without a study are grouped into arms by the settings in which they differ.

    Raises:
        FileNotFoundError: there is no such folder.
        RecordError: there is no run in them, a file of a run is damaged, or the data or the flags of XLA
            changed between two runs.
    """
    runs = find_runs(*folders)
    if not runs:
        names = " and ".join(map(str, folders))
        raise RecordError(f"{names} holds no run: no config.yaml of a run in it or below it")
    return group_runs(runs)


def group_runs(runs: Sequence[Run]) -> list[StudyResults]:
    """Return the studies that some runs belong to, as `read_studies` does for all runs of a folder.

    Raises:
        RecordError: the data or the flags of XLA changed between two runs.
    """
    by_name: dict[str | None, list[Run]] = defaultdict(list)
    for run in runs:
        plan = run.config.get("study")
        by_name[plan["name"] if plan else None].append(run)
    _refuse_changed_data(runs)
    studies = []
    for group in by_name.values():
        _refuse_other_flags(group)
    for name, group in sorted(by_name.items(), key=lambda item: _place(item[0])):
        studies += [_unplanned_study(group)] if name is None else _planned_studies(name, group)
    return studies


def _place(name: str | None) -> tuple[int, int, str]:
    """Return the sort key of a study; runs without a study come last."""
    if name is None:
        return 3, 0, ""
    if name in FIRST:
        return 0, FIRST.index(name), name
    return (2, LAST.index(name), name) if name in LAST else (1, 0, name)


def _refuse_changed_data(runs: Iterable[Run]) -> None:
    """Raise an error if two runs have the same settings of the data and read different images."""
    first: dict[str, Run] = {}
    for run in runs:
        checksum = run.outcome.provenance.get("data_checksum")
        if checksum is None:
            continue
        other = first.setdefault(describe_settings(run, DATA_KEYS), run)
        if checksum != other.outcome.provenance.get("data_checksum"):
            raise RecordError(
                f"{other.path} and {run.path} cannot be compared: the data changed between them, "
                f"its checksum differs ({describe_settings(run, DATA_KEYS[:1])}); move one of them away"
            )


def _refuse_other_flags(runs: Iterable[Run]) -> None:
    """Raise an error if two runs that would be compared were made with different flags of XLA."""
    recorded = [(run, run.outcome.provenance["xla_flags"]) for run in runs if _has_flags(run)]
    for run, flags in recorded[1:]:
        first, first_flags = recorded[0]
        if sentence := describe_other_flags(run.path, flags, first_flags):
            raise RecordError(f"{sentence} as for {first.path}, or move one of them away")


def _has_flags(run: Run) -> bool:
    return "xla_flags" in run.outcome.provenance


def _planned_studies(name: str, runs: list[Run]) -> list[StudyResults]:
    trials = [run for run in runs if run.config["study"].get("trial")]
    earlier = [run for run in runs if run.config["study"].get("stage")]
    runs = [run for run in runs if not any(run.config["study"].get(key) for key in ("trial", "stage"))]
    if not runs and not earlier:
        search = StudyResults(name, (), name, trials[0].config["study"].get("question"), trials=tuple(trials))
        if search.search is not None:
            return [search]
    by_arm = defaultdict(list)
    for run in runs:
        by_arm[str(run.config["study"].get("arm"))].append(run)
    splitting = dict.fromkeys(key for group in by_arm.values() for key in differing_keys(group))
    # This key also splits the runs of different arms, because a run that was continued is never compared with
    # a run that trained all epochs at once.
    splitting |= dict.fromkeys(key for key in differing_keys(runs) if key == "training.continued_from")
    fixed = [key for key in splitting if key not in TUNED_KEYS]
    if _are_rates_tuned(by_arm, fixed):
        splitting = dict.fromkeys(fixed)
    starts = _differing_starts(earlier)
    by_settings = defaultdict(list)
    for run in runs:
        start, keys = starts.get(_start_of(run), (run, ()))
        # a key in which a run equals its start is no reason to split it from a run without a start
        apart = [key for key in keys if key not in splitting or not _agree(key, run, start)]
        of_start = f"{start.config['study']['stage']}: {describe_settings(start, apart)}" if apart else ""
        by_settings[", ".join(filter(None, [describe_settings(run, splitting), of_start]))].append(run)
    if not runs:
        by_settings[""] = []
    used = {_start_of(run) for run in runs}
    studies = []
    for settings, group in sorted(by_settings.items()):
        of_group = {_start_of(run) for run in group}
        studies.append(
            _planned_study(
                f"{name} ({settings})" if settings else name,
                group,
                [
                    run
                    for run in trials
                    if not group or describe_settings(run, fixed) == describe_settings(group[0], fixed)
                ],
                [run for run in earlier if run.path.name in of_group or run.path.name not in used],
            )
        )
    return studies


def _are_rates_tuned(by_arm: Mapping[str, list[Run]], keys: Sequence[str]) -> bool:
    """Return whether trials chose one rate for all runs of an arm that are equal in the keys.

    Such a rate may differ between sizes of the training split, which are then no more apart than arms are.
    """
    rates = defaultdict(set)
    for arm, group in by_arm.items():
        for run in group:
            rates[arm, describe_settings(run, keys)].add(describe_settings(run, TUNED_KEYS))
    tuned = all(run.config["study"].get("tuning") for group in by_arm.values() for run in group)
    return tuned and all(len(chosen) == 1 for chosen in rates.values())


def _start_of(run: Run) -> str:
    """Return the name of the folder whose parameters a run starts from; "" if it starts from new ones."""
    start = run.config.get("init_from") or ""  # a text in the runs of earlier versions
    return Path(start if isinstance(start, str) else start["run"] or "").name


def _agree(key: str, run: Run, start: Run) -> bool:
    return run.settings.get(key) == start.settings.get(key)


def _differing_starts(earlier: Iterable[Run]) -> dict[str, tuple[Run, Sequence[str]]]:
    """Return each run of an earlier stage, and the keys in which those of its stage and arm differ."""
    alike = defaultdict(list)
    for run in earlier:
        alike[run.config["study"]["stage"], run.config["study"].get("arm")].append(run)
    groups = [(group, differing_keys(group)) for group in alike.values()]
    return {run.path.name: (run, keys) for group, keys in groups for run in group}


def _planned_study(title: str, runs: list[Run], trials: list[Run], earlier: list[Run]) -> StudyResults:
    plan = (runs or trials or earlier)[0].config["study"]
    by_arm: dict[str, list[Run]] = {
        str(name): [] for run in (*runs, *trials, *earlier) for name in run.config["study"].get("arms") or ()
    }
    planned = set(by_arm)
    for run in runs:
        by_arm.setdefault(str(run.config["study"].get("arm")), []).append(run)
    tuned = {seed for run in runs for seed in (run.config["study"].get("tuning") or {}).get("seeds", ())}
    seeds = {replicate_of(run) for run in (*runs, *earlier) if seed_of(run) not in tuned}
    return StudyResults(
        title,
        tuple(_arm(arm, group, seeds, not planned or arm in planned) for arm, group in by_arm.items()),
        plan["name"],
        plan.get("question"),
        plan.get("axis"),
        None if plan.get("reference") is None else str(plan["reference"]),
        tuple(trials),
        tuple(earlier),
    )


def _unplanned_study(runs: list[Run]) -> StudyResults:
    naming: list[str] = []
    for key in differing_keys(runs):  # a key that distinguishes no further runs would only lengthen the names
        if len({describe_settings(run, [*naming, key]) for run in runs}) > len(
            {describe_settings(run, naming) for run in runs}
        ):
            naming.append(key)
    by_arm = defaultdict(list)
    for run in runs:
        by_arm[describe_settings(run, naming) or "all runs"].append(run)
    arms = tuple(_arm(name, group, (), False) for name, group in by_arm.items())
    return StudyResults("runs without a study", arms, axis=naming[0] if len(naming) == 1 else None)


def _arm(name: str, runs: Sequence[Run], seeds: Iterable[Replicate], planned: bool) -> Arm:
    """Return an arm in which one run counts per seed: the last completed run, or else the last run."""
    by_seed: dict[Replicate, Run] = {}
    repeated = []
    for run in sorted(runs, key=lambda run: (run.status == "completed", _started(run))):
        if (earlier := by_seed.get(replicate_of(run))) is not None:
            repeated.append(earlier)
        by_seed[replicate_of(run)] = run
    kept = tuple(by_seed[seed] for seed in in_order(by_seed))
    return Arm(name, kept, tuple(repeated), in_order(set(seeds) - by_seed.keys()), planned)


def _started(run: Run) -> str:
    return str(run.outcome.provenance.get("started", ""))
