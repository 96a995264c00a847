"""Sweeps in stages: a run may start from a run of an earlier stage, or compress runs of that stage."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from rich.console import Console

from research import records
from research.config import Config, ConfigError, DataConfig, Named
from research.layers.base import abstract_init, by_path
from research.runs.build import build_network
from research.runs.load import head_of, takes
from research.sweeps.tuning import Runs, check_seed, make_trials, run_tuned, start_at

STAGES = "stages"
"""Name of the folder of the runs of earlier stages; it is beside the runs of the last stage."""


@dataclass(frozen=True)
class StagedRun:
    """The runs of one arm and one seed, one for each stage of the study.

    Args:
        configs: the configuration of each stage, in the order of the stages; the study compares the runs of
            the last stage.
        starts: for a stage, the name of the earlier stage from whose runs it starts, as `start_at` describes
            it; a stage that is no key of this mapping starts from new parameters.
        counts: for a stage, the number of its runs, if there are several; each has a seed of its own.
    """

    configs: Mapping[str, Config]
    starts: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Config) -> "StagedRun":
        """Return a run without earlier stages."""
        return cls({"": config})

    @property
    def last(self) -> str:
        """Name of the last stage."""
        return list(self.configs)[-1]

    @property
    def seed(self) -> int:
        """The seed of the run of the last stage."""
        return self.configs[self.last].seed

    def runs(self, stage: str) -> list[Config]:
        """Return the configurations of the runs of a stage; no run belongs to two seeds of the study."""
        config = self.configs[stage]
        if stage not in self.counts or config.study is None:
            return [config]
        study, first = dataclasses.replace(config.study, seed=config.seed), 1000 * (config.seed + 1)
        seeds = [(first + number) % 2**32 for number in range(self.counts[stage])]
        return [dataclasses.replace(config, seed=seed, study=study) for seed in seeds]

    def with_seed(self, seed: int) -> "StagedRun":
        """Return the same runs with another seed."""
        configs = {name: dataclasses.replace(config, seed=seed) for name, config in self.configs.items()}
        return dataclasses.replace(self, configs=configs)


class StagedSweep:
    """A sweep that runs one stage after the other. The trials of the tuning run before the last stage.

    Args:
        worker: train in a worker process, which is replaced if it dies; False trains in this process.
    """

    def __init__(self, *, worker: bool = True) -> None:
        self.retry_failed = True
        self._worker = worker
        self._plan: list[tuple[StagedRun, Path]] = []
        self.folders: list[Path] = []
        """The folders of the planned runs, including trials and earlier stages; `run` fills this list."""

    @property
    def planned(self) -> list[Config]:
        """The configurations of the planned runs of the last stage."""
        return [run.configs[run.last] for run, _ in self._plan]

    def plan(self, run: StagedRun, folder: str | Path) -> None:
        """Add the runs of one arm and seed.

        Args:
            run: the runs of the arm and seed.
            folder: the folder of the sweep; each run gets a folder in it.

        Raises:
            ConfigError: a trial of the tuning has the seed of the run, or a stage starts from the parameters
                of another network.
        """
        _check_networks(run)
        check_seed(run.configs[run.last])
        self._plan.append((run, Path(folder)))

    def run(self, console: Console | None = None) -> int:
        """Run every planned run that has no result yet.

        If a run of an earlier stage did not complete, the runs that start from it are left out.

        Returns:
            Exit code: 0; 1 if a run diverged, failed or its process died; 130 or 143 after a signal.
        """
        code, self.folders = 0, []
        made: dict[tuple[int, int, str], Runs] = {}  # by index in the plan, seed and stage
        earlier = [name for run, _ in self._plan for name in run.configs if name != run.last]
        for stage in dict.fromkeys([*earlier, *(run.last for run, _ in self._plan)]):
            runs: dict[Path, tuple[Config, list[Config]]] = {}  # of this stage, with their trials
            for index, (run, folder) in enumerate(self._plan):
                is_last = stage == run.last
                for each in (run,) if is_last else (run, *_for_trials(run)):
                    if stage not in each.configs or (starts := _starts(index, each, stage, made)) is None:
                        continue
                    place = folder if is_last else folder / STAGES / stage
                    configs = [start_at(config, starts.get(each.seed)) for config in each.runs(stage)]
                    found = {place / config.run_name(): config for config in configs}
                    made[index, each.seed, stage] = found
                    runs |= {path: (config, make_trials(config, starts)) for path, config in found.items()}
            stage_code, stage_folders = run_tuned(
                runs, retry_failed=self.retry_failed, worker=self._worker, console=console
            )
            code = max(code, stage_code)
            self.folders += stage_folders
            if code >= 128:
                break
        return code


def _starts(
    index: int, run: StagedRun, stage: str, made: Mapping[tuple[int, int, str], Runs]
) -> dict[int, Runs] | None:
    """Return the runs from which each seed of a stage starts; `None` if one of them is incomplete."""
    if stage not in run.starts:
        return {}
    before = run.starts[stage]
    trials = _for_trials(run) if stage == run.last else []
    starts = {seed: made.get((index, seed, before), {}) for seed in (each.seed for each in (run, *trials))}
    completed = [records.is_finished(path, ("completed",)) for runs in starts.values() for path in runs]
    return starts if all(starts.values()) and all(completed) else None


def _check_networks(run: StagedRun) -> None:
    """Refuse a stage whose parameters are not those of the stage that it starts from."""
    for stage, start in run.starts.items():
        configs = run.configs[stage], run.configs[start]
        if configs[0].loss.name == "distillation" or configs[0].compress:
            continue  # this stage starts from new parameters, or does not train
        (here, head), (there, _) = (_describe(config.model, config.data) for config in configs)
        init = configs[0].init_from
        new_head = None if init.head == "keep" else head  # whether the classes are the same is not known yet
        for name in dict.fromkeys([*there, *here]):
            if takes(init, name, new_head) and here.get(name) != there.get(name):
                raise ConfigError(
                    f"stages.{stage}.from={start} is not allowed: {name} is {there.get(name, 'absent')} in "
                    f"{start} and {here.get(name, 'absent')} in {stage}; give a stage of the same network, "
                    "or an init_from.match that leaves this layer out"
                )


@cache
def _describe(model: Named, data: DataConfig) -> tuple[dict[str, str], str]:
    """Return the type and shape of each array of a network by its path, and the name of its head."""
    dataset = data.images.describe()
    net = build_network(model, dataset.image_shape, dataset.num_classes)
    params, state = abstract_init(net, (1, *dataset.image_shape))
    leaves = by_path({"params": params, "model_state": state})
    return {path: f"{leaf.dtype} {leaf.shape}" for path, leaf in leaves.items()}, head_of(net, params)


def _for_trials(run: StagedRun) -> list[StagedRun]:
    """Return the runs with the seeds of the trials; a trial starts from an earlier stage of its seed."""
    study = run.configs[run.last].study
    if study is None or study.tuning is None or run.last not in run.starts:
        return []
    return [run.with_seed(seed) for seed in study.tuning.seeds]
