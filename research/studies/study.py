"""The class `Study`: arms that answer one question, which are planned before anything runs."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import yaml
from rich.console import Console

from research.config import Config, ConfigError, StudyConfig
from research.runs.build import check
from research.studies.findings import too_few_seeds
from research.studies.overrides import as_overrides, default_name, refuse_unknown
from research.studies.stages import Stage, make_stages, staged_run
from research.sweeps.stages import StagedRun, StagedSweep
from research.utils.conf import CONF
from research.utils.strict import to_builtin
from research.utils.yaml_text import read_yaml

if TYPE_CHECKING:
    import research.studies.outcome

STUDIES = CONF / "studies"

KEYS = ("name", "question", "axis", "arms", "reference", "base", "tuning", "stages")
"""Keys of ``conf/studies/<name>.yaml``, which are the parameters of `Study`."""


class Study:
    """Arms that are compared with one reference arm, over the same seeds.

    Args:
        name: name of the study; it is part of every run's configuration.
        arms: a list of values of ``axis``, or a mapping from the name of each arm to its overrides. In a list
            of numbers, an arm is named by the last word of the axis and its value, such as "depth 2".
        reference: the arm that every other arm is compared with, by its name or by its value of ``axis``.
        axis: dotted key along which the arms differ. A mapping of arms needs none.
        base: overrides that all arms share. Overrides are what the command line takes: nested dicts, dotted
            keys, and a bare name for a choice, as in ``{"model": "tiny", "training.epochs": 2}``.
        question: what the study asks, in one sentence.
        tuning: the trials that choose the rates of each arm before its runs; every arm has equally many. It
            is a mapping with ``seeds``, which no run of the study may have, and with ``learning_rate`` and
            ``weight_decay``, which are lists of factors of the arm's own rates. None tunes nothing.
        stages: the stages, in order. Each stage is a mapping with the arguments of `Stage`. The study
            compares the runs of the last stage. A run of a stage starts from the run of the earlier stage
            that has the same seed, and the same arm if the arms differ in the earlier stage. An arm with the
            override ``init_from: null`` starts from new parameters.

    Raises:
        ConfigError: a value is not allowed; the message names the key, the value and what is allowed.

    Example:
        >>> study = Study("depth", axis="model.depth", arms=[1, 2], reference=2)
        >>> list(study.arms), study.reference
        (['depth 1', 'depth 2'], 'depth 2')
        >>> study.config("depth 1", seed=3).model.arguments["depth"]
        1
    """

    def __init__(
        self,
        name: str,
        *,
        arms: Any,
        reference: Any,
        axis: str | None = None,
        base: Any = None,
        question: str = "",
        tuning: Any = None,
        stages: Any = None,
    ) -> None:
        if not isinstance(name, str) or not name:
            raise ConfigError(f"name={name} is not allowed; give the name of the study, a text")
        if axis is not None and not isinstance(axis, str):
            raise ConfigError(f"axis={axis} is not allowed; give a dotted key, such as model.depth")
        self.name = name
        self.question = question
        self.arms = _make_arms(arms, axis)
        keys = {key for overrides in self.arms.values() for key in overrides}
        self.axis = axis if axis is not None else keys.pop() if len(keys) == 1 else ""
        self.reference = self._reference(reference)
        self.base = as_overrides("base", base)
        self.tuning = dict(tuning) if isinstance(tuning, Mapping) else tuning
        self.stages: tuple[Stage, ...] = make_stages(stages)
        for arm in self.arms:
            self.staged_run(arm, seed=0)

    @classmethod
    def from_conf(cls, name: str) -> "Study":
        """Return the study of ``conf/studies/<name>.yaml``.

        Raises:
            ConfigError: there is no such study, or the file has an unknown key or an impossible value.

        Example:
            >>> Study.from_conf("depth").axis
            'model.depth'
        """
        if name not in study_names():
            raise ConfigError(f"study={name} is not allowed; give one of {', '.join(study_names())}")
        return cls.from_file(STUDIES / f"{name}.yaml")

    @classmethod
    def from_file(cls, path: str | Path) -> "Study":
        """Return the study of a YAML file that has the form of those in ``conf/studies``.

        If the file has no key ``name``, the study has the name of the file.

        Raises:
            ConfigError: the file is no YAML, or it has an unknown key or an impossible value.
            OSError: the file cannot be read.
        """
        path = Path(path)
        try:
            values = read_yaml(path.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
        try:
            refuse_unknown("", values, KEYS)
            for key in ("arms", "reference"):
                if key not in values:
                    raise ConfigError(f"{key} is missing")
            return cls(**{"name": path.stem} | values)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
        except RecursionError as error:
            raise ConfigError(f"{path} is not allowed: an alias in it refers to itself") from error

    def config(self, arm: str, seed: int) -> Config:
        """Return the configuration of the run that the study compares, for one arm and seed.

        Raises:
            ConfigError: there is no such arm, or the configuration is not allowed.
        """
        run = self.staged_run(arm, seed)
        return run.configs[run.last]

    def staged_run(self, arm: str, seed: int, values: Mapping[str, Any] = MappingProxyType({})) -> StagedRun:
        """Return the runs of one arm and seed, one for each stage.

        Args:
            arm: name of the arm.
            seed: the seed.
            values: further flat values of the runs, such as the fold of a cross-validation.

        Raises:
            ConfigError: there is no such arm, or a configuration is not allowed.
        """
        if arm not in self.arms:
            raise ConfigError(f"arm={arm} is not allowed; give one of {', '.join(self.arms)}")
        plan = self.plan() | {"arm": arm}
        values = self.base | {"seed": seed} | dict(values)
        return staged_run(values, plan, self.arms[arm], self.stages, explicit=self.base.keys())

    def plan(self) -> dict[str, Any]:
        """Return the section ``study`` of every run's configuration, without the name of the run's arm."""
        return {
            "name": self.name,
            "question": self.question,
            "axis": self.axis,
            "arms": list(self.arms),
            "reference": self.reference,
            "tuning": self.tuning,
        }

    def run(
        self,
        seeds: Iterable[int] = range(8),
        folder: str | Path = "runs",
        *,
        folds: int | None = None,
        worker: bool = False,
        retry_failed: bool = True,
        console: Console | None = None,
    ) -> "research.studies.outcome.StudyOutcome":
        """Train every arm with every seed, except the runs that the folder already holds.

        Args:
            seeds: the seeds; m contrasts can be decided by n seeds only if m * 2^(1-n) <= 0.05.
            folder: the folder in which each run gets a folder, as in a sweep of the command line.
            folds: number of folds of a cross-validation, in each of which every arm is trained with every
                seed; None: no cross-validation.
            worker: train in a worker process, so that a crash of the compiler does not end this process. A
                script with ``worker=True`` needs the guard ``if __name__ == "__main__":``. False trains in
                this process.
            retry_failed: run the runs that failed before again.
            console: where a line for each run is printed; None for the standard output.

        Returns:
            The outcome of the runs of these seeds. It also lists the runs that failed or diverged.

        Raises:
            ConfigError: an arm's configuration does not fit its data, a seed is not allowed, or the folder
                cannot be written.
            KeyboardInterrupt: a signal ended the sweep; the same call continues where it stopped.
        """
        # Matplotlib is loaded here, so that a command that needs no figure starts without it
        from research.studies.outcome import StudyOutcome

        console = console or Console(highlight=False, soft_wrap=True)
        folder, seeds = Path(folder), _make_seeds(seeds)
        sweep = StagedSweep(worker=worker)
        sweep.retry_failed = retry_failed
        for arm in self.arms:
            for seed, fold in product(seeds, range(folds or 1)):
                run = self.staged_run(arm, seed, {"data.folds": folds, "data.fold": fold} if folds else {})
                for stage, config in run.configs.items():
                    check(config, follows=stage in run.starts)
                sweep.plan(run, folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"folder={folder} cannot be written: {error.strerror}; give another folder"
            ) from error
        sentence = too_few_seeds(len(self.arms) - 1, len(seeds))
        if sentence and folds is None:
            console.print(sentence, markup=False)
        if sweep.run(console) >= 128:
            raise KeyboardInterrupt(f"the study stopped; run it again with folder={folder} to go on")
        return StudyOutcome.of_runs(sweep.folders, folder)

    def _reference(self, reference: Any) -> str:
        reference = to_builtin(reference)
        if isinstance(reference, str) and reference in self.arms:
            return reference
        for name, overrides in self.arms.items():
            values = list(overrides.values())
            if len(values) == 1 and type(values[0]) is type(reference) and values[0] == reference:
                return name
        raise ConfigError(f"reference={reference} is not allowed; give one of {', '.join(self.arms)}")


def study_names() -> list[str]:
    """Return the names of the studies in ``conf/studies``, sorted."""
    return sorted(path.stem for path in STUDIES.glob("*.yaml"))


def check_arms(studies: Iterable[StudyConfig | None]) -> None:
    """Refuse the runs of a sweep if a report could not compare them.

    Args:
        studies: the study and arm of each run.

    Raises:
        ConfigError: an arm is not one of the study's arms, or no run is of its reference arm.
    """
    found = [study for study in studies if study is not None]
    for study in found:
        if study.arm not in study.arms:
            raise ConfigError(
                f"study.arm={study.arm} is not allowed, because study.arms is [{', '.join(study.arms)}]; add "
                "it to study.arms"
            )
        arms = list(dict.fromkeys(other.arm for other in found if other.name == study.name))
        if study.reference not in arms:
            raise ConfigError(
                f"study.reference={study.reference} is not allowed, because the sweep has no run of it; "
                f"add that arm to the sweep, or give one of {', '.join(arms)}"
            )


def _make_seeds(seeds: Any) -> list[int]:
    """Return the seeds, each once; `Config.from_dict` refuses values that are no seeds."""
    if not isinstance(seeds, Iterable) or isinstance(seeds, str | bytes | Mapping):
        raise ConfigError(f"seeds={seeds} is not allowed; give a list of whole numbers, such as range(8)")
    values = [to_builtin(seed) for seed in seeds]
    if not values:
        raise ConfigError("seeds is empty; give at least one seed")
    return [seed for index, seed in enumerate(values) if seed not in values[:index]]


def _make_arms(arms: Any, axis: str | None) -> dict[str, dict[str, Any]]:
    """Return the overrides of each arm by its name."""
    arms = to_builtin(arms)
    if isinstance(arms, Mapping):
        for name in arms:
            if not isinstance(name, str) or not name.strip() or not name.isprintable():
                raise ConfigError(
                    f"arms.{name!r} is not allowed; give each arm a text of one line as its name"
                )
        named = {name: as_overrides(f"arms.{name}", overrides) for name, overrides in arms.items()}
    elif isinstance(arms, Sequence) and not isinstance(arms, str):
        if axis is None:
            raise ConfigError("axis is missing; give the dotted key whose values the list of arms holds")
        arms = [to_builtin(value) for value in arms]
        named = {default_name(axis, value): as_overrides("arms", {axis: value}) for value in arms}
        if len(named) < len(arms):
            raise ConfigError(f"arms={list(arms)} is not allowed; give each value once")
    else:
        raise ConfigError(
            f"arms={arms} is not allowed; give a list of values of the axis, or a mapping from the name of "
            "each arm to its overrides"
        )
    if len(named) == 0:
        raise ConfigError("arms is empty; give at least one arm")
    return named
