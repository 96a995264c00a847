"""Train one convolutional network, or sweep over many with -m.

Examples:
    cnn-research train data=mnist model=plain model.depth=3 seed=1
    cnn-research train -m +study=depth data=mnist 'seed=range(0,8)'
    cnn-research train -m model=plain,tiny optimizer=adam,sgd 'seed=range(0,3)'
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from research import records
from research.cli.hydra_keys import given_hydra_keys
from research.cli.jobs import Sweep
from research.cli.keys import Command
from research.cli.log import RunLog
from research.cli.wrapper import pop_keys, read_folder, run_command
from research.config import Config, ConfigError, InitFromConfig, SweepConfig
from research.records import RunResult
from research.runs.build import check
from research.runs.callbacks import ProgressBar
from research.runs.continued import CONTINUED, continue_run, settle, with_more_epochs
from research.runs.multiprocess import run_distributed
from research.runs.overfit import describe_overfit
from research.runs.preemption import stop_on_signal
from research.runs.run import configure_jax, leave_accelerators, run
from research.studies.findings import too_few_seeds
from research.studies.stages import given_keys, staged_run_of_job
from research.studies.study import check_arms
from research.sweeps.stages import StagedRun, StagedSweep
from research.sweeps.sweep import run_apart
from research.utils.files import made_folder
from research.utils.nested import dotted_keys, is_below, nested


@dataclass(frozen=True)
class TrainKeys:
    """Keys of this command in addition to those of a run's configuration.

    Args:
        run: folder of the run.
        resume: continue the unfinished run in that folder, with the configuration in its config.yaml.
        sweep: what a sweep does with the runs that an earlier launch left in its folder.
    """

    run: str
    resume: bool = False
    sweep: SweepConfig = field(default_factory=SweepConfig)


COMMAND = Command("config", __doc__, (TrainKeys,), [key.name for key in fields(Config)])


def job(sweep: StagedSweep, exit_codes: list[int], values: dict[str, Any]) -> None:
    """Run one configuration; in a sweep on this machine only plan it, and `finish` in `main` runs it."""
    folder, keys = read_folder(values, "run"), pop_keys(values, TrainKeys)
    resume, sweep.retry_failed = keys.resume, keys.sweep.retry_failed
    hydra = HydraConfig.get()
    staged = staged_run_of_job(values, given_keys(hydra.overrides.task))
    config = staged.configs[staged.last]
    if config.training.continued_from is not None:
        raise ConfigError(
            "training.continued_from is not allowed, because resume=true writes it; leave it out"
        )
    num_runs = config.training.runs_per_program
    is_group = num_runs > 1 and not (folder / "config.yaml").exists()
    sweeps = hydra.mode == RunMode.MULTIRUN
    if not sweeps and config.init_from.run is None and config.init_from != InitFromConfig():
        raise ConfigError("init_from.match and init_from.head need init_from; give init_from=FOLDER")
    log = [] if sweeps else [RunLog(folder)]
    if resume and not is_group and not sweeps:
        if not config.distributed.is_on:
            settle(folder)
        config = unfinished(folder, config, hydra.overrides.task)
    _check_given_folder(hydra.overrides.task, hydra.overrides.hydra, sweeps=sweeps)
    configure_jax(config)
    if sweeps or is_group or config.distributed.is_on:
        leave_accelerators()
    # with resume=true, the configuration of the last stage is no longer the planned one
    for stage, each in {**staged.configs, staged.last: config}.items():
        check(each, follows=stage in staged.starts)
    here = sweeps and hydra.runtime.choices["hydra/launcher"] == "basic"
    if not here and not resume:
        _refuse_outside_local_sweep(staged)
    if sweeps:
        if config.debug.overfit_batch is not None:
            raise ConfigError(
                f"debug.overfit_batch={config.debug.overfit_batch} is not allowed with -m, because it is for "
                "one run; leave out -m"
            )
        if config.distributed.is_on:
            raise ConfigError("distributed is not allowed with -m, because it is for one run; leave out -m")
        if here:
            return sweep.plan(staged, Path(hydra.sweep.dir))
        folder = Path(hydra.sweep.dir) / config.run_name()
        if num_runs > 1:
            raise ConfigError(f"training.runs_per_program={num_runs} is not allowed with a launcher; give 1")
        return run_apart(config, folder, retry_failed=sweep.retry_failed)
    epochs = (
        records.read_config(folder)["training"]["epochs"] if resume and records.is_finished(folder) else None
    )
    continues = epochs is not None and config.training.epochs != epochs
    if config.distributed.is_on and continues:
        raise ConfigError("distributed is not allowed with more epochs; continue the run in one process")
    if config.distributed.is_on:
        result, should_report = run_distributed(config, folder, resume=resume)
        if should_report:
            report(result, folder)
        return exit_codes.append(exit_code(result))
    try:
        with made_folder(folder):  # this only checks that the folder can be made
            pass
    except OSError as error:
        raise ConfigError(f"run={folder} cannot be written: {error.strerror}; give another folder") from error
    if is_group:  # a sweep over `num_runs` seeds; a sweep always continues unfinished runs
        for seed in range(config.seed, config.seed + num_runs):
            each = Config.from_dict(config.to_dict() | {"seed": seed})  # it refuses seeds that are too large
            sweep.plan(StagedRun.of(each), folder)
        return None
    if continues:
        print(
            f"{folder} continues after epoch {epochs}; from there on the learning rate follows "
            f"schedule={config.schedule.name} of {config.training.epochs} epochs"
        )
        with stop_on_signal(folder / CONTINUED) as stop:
            result = continue_run(config, folder, [stop, ProgressBar()])
    elif epochs is not None:
        result = records.read_run(folder).outcome
    else:
        with stop_on_signal(folder) as stop:
            bar = ProgressBar(every=1 if config.debug.overfit_batch is None else 20)
            result = run(config, folder, [*log, stop, bar], resume=resume)
    if config.debug.overfit_batch is not None and result.status in ("completed", "diverged"):
        print(describe_overfit(records.read_run(folder)))
        print(f"run {folder}")
        return None
    report(result, folder)
    if config.logging.includes("mlflow") and result.status in records.FINISHED:
        from research.studies.report.write import write_report  # other runs start without the figures

        write_report(folder, folder / "report")  # it attaches the report to the MLflow run
    return exit_codes.append(exit_code(result))


def _check_given_folder(words: Sequence[str], hydra_words: Sequence[str], *, sweeps: bool) -> None:
    """Refuse the folder of a run in a sweep, and the folder of a sweep in a single run."""
    if sweeps and "run" in given_keys(words):
        raise ConfigError(
            "run is not allowed with -m, because it is for one run; give hydra.sweep.dir instead"
        )
    if not sweeps and "hydra.sweep.dir" in given_hydra_keys(hydra_words):
        raise ConfigError("hydra.sweep.dir is only allowed with -m; give run, the folder of one run, instead")


def check_launcher(sweep: Sweep) -> None:
    """Check a sweep that a launcher is to run, before the launcher starts.

    A sweep without a launcher is checked by `finish` in `main`, which knows the planned runs.

    Args:
        sweep: the sweep.

    Raises:
        ConfigError: a run is not allowed, or a report could not compare the runs.
    """
    if sweep.launcher == "basic":
        return
    configs = []
    for values, _ in sweep:
        pop_keys(values, TrainKeys)
        staged = staged_run_of_job(values, given_keys(HydraConfig.get().overrides.task))
        _refuse_outside_local_sweep(staged)
        configs.append(staged.configs[staged.last])
    check_sweep(configs)


def check_sweep(configs: Sequence[Config]) -> None:
    """Refuse the runs of a sweep if a report could not compare them, and say if they have too few seeds."""
    studies = [config.study for config in configs if config.study]
    check_arms(studies)
    num_contrasts = max((len(study.arms) - 1 for study in studies), default=0)
    has_folds = any(config.data.folds for config in configs)
    sentence = too_few_seeds(num_contrasts, len({config.seed for config in configs}))
    if sentence and not has_folds:
        print(sentence)


def _refuse_outside_local_sweep(staged: StagedRun) -> None:
    """Refuse what a study can do only in a sweep on this machine."""
    study = staged.configs[staged.last].study
    if study and study.tuning:
        raise ConfigError(
            "study.tuning is only allowed in a sweep on this machine; give -m without a launcher, "
            "or study.tuning=null"
        )
    if len(staged.configs) > 1:
        raise ConfigError(
            "a study with stages is only allowed in a sweep on this machine; give -m without a launcher"
        )


def report(result: RunResult, folder: Path) -> None:
    """Print the test accuracy of a run, or why it has none, and the folder of the run."""
    if num_left_out := result.provenance.get("num_left_out"):
        print(f"files of images left out: {num_left_out}")
    accuracy = result.test_accuracy
    print(f"test accuracy {accuracy:.4f}" if accuracy is not None else f"{result.status}: {result.error}")
    print(f"run {folder}")


def exit_code(result: RunResult) -> int:
    """Return the exit code of the process of a run: as recorded, and at least 1 unless the run completed."""
    return result.exit_code or int(result.status != "completed")


def unfinished(folder: Path, config: Config, overrides: Sequence[str]) -> Config:
    """Return the configuration with which an unfinished run continues.

    It is the one in the folder of the run, except that a run may continue on other devices, as long as batch
    normalisation uses the same examples. A completed run may continue with a larger `training.epochs`.

    Args:
        folder: the folder of the run.
        config: the configuration of the command line.
        overrides: the words of the command line.

    Raises:
        ConfigError: the command line asks for another configuration.
    """
    others = [
        word for word in overrides if not re.match(r"(run|resume|sweep|parallel|distributed)[.\w]*=", word)
    ]
    started_with = Config.from_record(records.read_config(folder))
    started_with = replace(started_with, distributed=config.distributed)
    if any(word.startswith("parallel") for word in overrides):
        batch_norm = started_with.parallel.batch_norm
        if config.parallel.batch_norm != batch_norm:
            raise ConfigError(
                f"parallel.batch_norm={config.parallel.batch_norm} is not allowed with resume=true; "
                f"{folder}/config.yaml says {batch_norm}"
            )
        started_with = replace(started_with, parallel=config.parallel)
    if not others:
        inside = folder / CONTINUED
        begun = (inside / "config.yaml").exists() and not records.is_finished(inside)
        return Config.from_record(records.read_config(inside)) if begun else started_with
    epochs, started = config.training.epochs, started_with.training
    training = replace(config.training, epochs=started.epochs, continued_from=started.continued_from)
    asked = replace(config, training=training)
    if not _agree(others, asked, started_with):
        differ = [word for word in others if not _agree([word], asked, started_with)]
        raise ConfigError(
            f"resume=true continues the configuration in {folder}/config.yaml, which is another one; "
            f"leave out {' '.join(differ or others)}"
        )
    as_started = _with_words(others, asked, started_with)
    return as_started if epochs == started.epochs else with_more_epochs(folder, as_started, epochs)


def _agree(words: Sequence[str], asked: Config, recorded: Config) -> bool:
    """Return whether the words of a command line describe the same run as the recorded configuration."""
    try:
        return _with_words(words, asked, recorded).fingerprint() == recorded.fingerprint()
    except ConfigError:  # a key of another model
        return False


def _with_words(words: Sequence[str], asked: Config, recorded: Config) -> Config:
    """Return the recorded configuration with the values that the words of a command line give.

    Args:
        words: the words. One that is no key of `Config`, such as `+experiment=x`, may give any value.
        asked: the configuration that the command line composes.
        recorded: the recorded configuration.
    """
    keys = {key.removesuffix(".name") for key in given_keys(words)}
    if any(key.partition(".")[0] not in COMMAND.config_keys for key in keys):
        return asked
    kept = {key: value for key, value in dotted_keys(recorded.to_dict()).items() if not is_below(key, keys)}
    given = {key: value for key, value in dotted_keys(asked.to_dict()).items() if is_below(key, keys)}
    return Config.from_dict(nested(kept | given))


def main() -> None:
    """Run the command and exit."""
    sweep, exit_codes = StagedSweep(), [0]

    def finish() -> int:
        check_sweep(sweep.planned)
        return max(sweep.run(), *exit_codes)

    run_command(COMMAND, partial(job, sweep, exit_codes), before=check_launcher, after=finish)
