"""How every command runs: compose its configuration, call it, and turn an error into one sentence."""

import difflib
import itertools
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar, cast

import hydra
import jax
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from research.cli.exit import exit_with, in_one_line, say, shorten
from research.cli.help import help_text
from research.cli.hydra_keys import (
    IN_FILES,
    check_folders,
    given_hydra_keys,
    parse_word,
    quote_path,
    swept_by_keys,
)
from research.cli.jobs import Sweep, follows, open_sweep
from research.cli.keys import Command
from research.cli.multirun_file import multirun_file_restored
from research.cli.nodes import CONF, choices, register
from research.config import RENAMED, ConfigError
from research.data import DataError
from research.records import RecordError
from research.runs.settings import pinned_settings
from research.runs.worker import RunError
from research.training.checkpoint import CheckpointError
from research.utils.strict import construct, is_writable

T = TypeVar("T")

USER_ERRORS = (
    ConfigError,
    DataError,
    RecordError,
    CheckpointError,
    HydraException,
    OmegaConfBaseException,
    OSError,
    MemoryError,
)


def run_command(
    command: Command,
    job: Callable[[dict[str, Any]], Any],
    *,
    before: Callable[[Sweep], None] | None = None,
    after: Callable[[], int] | None = None,
) -> NoReturn:
    """Compose the configuration of a command with the command line, call `job`, then `after`, and exit.

    Args:
        command: what the command reads.
        job: called with the resolved configuration as a plain dict; once per job of a multirun.
        before: called once with the sweep of a multirun, before any job. A command without it refuses -m.
        after: called once when all jobs have returned; it returns the exit code.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises errors instead of printing them
    errors: list[Exception] = []
    composed: list[Path] = []
    environment: dict[str, str] = {}  # Hydra sets it only during a job; `after` may run the jobs

    def begin() -> None:
        full: Any = HydraConfig.instance().cfg
        composed.append(Path(HydraConfig.get().sweep.dir))
        environment.update(HydraConfig.get().job.env_set)
        check_folders({key: OmegaConf.select(full, key) for key in IN_FILES}, command)

    def compose(config: Any) -> Any:
        try:
            begin()
            values: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
            return job(values)
        except Exception as error:
            settings = HydraConfig.get()
            if settings.mode == RunMode.MULTIRUN and settings.runtime.choices["hydra/launcher"] != "basic":
                raise  # the launcher passes it to the process that started the sweep
            errors.append(error)  # Hydra would print the overrides above the sentence

    def work() -> int:
        sys.argv[1:] = map(quote_path, sys.argv[1:])
        register(command)
        check_flags(sys.argv[1:])
        given = given_hydra_keys(sys.argv[1:])
        check_folders(given, command)
        check_choices([*sys.argv[1:], *swept_by_keys(given)])
        if {"--help", "-h"} & set(sys.argv[1:]):
            return print_help(command)
        if any(word.startswith("--info") for word in sys.argv[1:]):
            logging.getLogger().handlers.clear()  # Hydra adds a handler to those of imported libraries
        start = hydra.main(version_base="1.3", config_path=str(CONF), config_name=command.config_name)
        with multirun_file_restored(sys.argv[1:], composed):
            try:
                sweep = open_sweep(command, sys.argv[1:])
                if sweep and before is None:
                    name = command.config_name.replace("_", "-")
                    raise ConfigError(f"-m is not allowed with {name}; leave it out, or give it to train")
                if sweep and before:
                    before(sweep)
                if sweep and sweep.is_plain and follows(sys.argv[1:]):
                    sweep.save()
                    for values, is_new in sweep:
                        if is_new:
                            begin()
                        job(values)
                else:
                    start(compose)()
            except (ValueError, TypeError, AttributeError, LookupError, AssertionError) as error:
                if composed:
                    raise
                raise HydraException(str(error)) from None  # Hydra also raises builtin types
            if errors:
                raise errors[0]
            os.environ.update(environment)
            return after() if after else 0

    exit_with_jax(work, command)


def exit_with_jax(work: Callable[[], int], command: Command | None = None) -> NoReturn:
    """Exit with the code that `work` returns, or with one sentence and 2 if the user can correct the error.

    Args:
        work: does the work and returns the exit code.
        command: the command; an error about an unknown key lists its keys.
    """

    def work_with_jax() -> int:
        try:
            with pinned_settings():
                return work()
        except USER_ERRORS as error:
            return say(shorten(_sentence(error, command)))
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            reason = str(error).partition("RESOURCE_EXHAUSTED: ")[2].splitlines()[0]
            return say(f"the memory does not suffice: {reason}")
        except RunError as error:
            return say(error, 1)
        except (RuntimeError, AssertionError):
            platforms = os.environ.get("JAX_PLATFORMS")
            if not platforms or _starts(jax.devices):
                raise
            return say(f"JAX_PLATFORMS={platforms} is not allowed; JAX has no such device here, give cpu")

    exit_with(work_with_jax)


def check_flags(words: list[str]) -> None:
    """Refuse a flag that Hydra does not have, before Hydra prints its usage.

    Args:
        words: the words of the command line.

    Raises:
        ConfigError: a flag or its value is not allowed, or an override stands after a flag.
    """

    def refuse(message: str) -> NoReturn:
        raise ConfigError(message)

    parser = get_args_parser()
    parser.error = refuse
    _, unknown = parser.parse_known_args(words)
    for word in unknown:
        if word.startswith("-"):
            raise ConfigError(f"there is no flag {word}; --help lists the keys and flags")
        raise ConfigError(f"{word} stands after a flag; give the flags before all keys")


def check_choices(words: list[str]) -> None:
    """Refuse the name of a choice that does not exist, before Hydra composes the configuration.

    Args:
        words: the words of the command line.

    Raises:
        ConfigError: a word chooses a name that its group does not have, or sweeps over an empty range.
    """
    for word in words:
        group = word.lstrip("+").partition("=")[0]
        names = choices(group) if "=" in word else []
        override = parse_word(word) if names or "(" in word else None
        if override is None:
            continue
        if override.is_sweep_override() and _is_empty(override, names):
            raise ConfigError(f"{word} holds no value to sweep over; give a range with at least one")
        for value in _chosen(override, names) if names else ():
            if value not in names:
                raise ConfigError(f"{group}={value} is not allowed; give one of {', '.join(names)}")


def _is_empty(override: Override, names: Sequence[str]) -> bool:
    """Return whether a sweep has no value; the names are those that a `glob(...)` chooses from."""
    value = override.value()
    if isinstance(value, Glob):
        return not value.filter(list(names))
    if not override.is_discrete_sweep():
        return False  # Hydra refuses it
    try:
        return next(override.sweep_iterator(), None) is None
    except ValueError:  # the step of a range is 0
        return True


def _chosen(override: Override, names: Sequence[str]) -> Iterator[str]:
    """Yield the names that an override such as `model=tiny,plain` or `model=glob(t*)` chooses.

    Args:
        override: the override.
        names: the names of the group.
    """
    value = override.value()
    if isinstance(value, Glob):
        yield from value.filter(list(names))
    elif override.is_choice_sweep():
        yield from override.sweep_string_iterator()
    elif not override.is_sweep_override():
        yield override.get_value_element_as_str()


def print_help(command: Command) -> int:
    """Print what the command does, and its keys with their values on this command line."""
    words = [word for word in sys.argv[1:] if "=" in word]
    print(help_text(command, Path(sys.argv[0]).name, compose_again(command, words)))
    return 0


def compose_again(command: Command, words: list[str]) -> Any:
    """Return the configuration of a command without running it."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose(command.config_name, overrides=words)


def _starts(start: Callable[[], Any]) -> bool:
    try:
        start()
    except (RuntimeError, AssertionError):
        return False
    return True


def pop_keys(values: dict[str, Any], cls: type[T]) -> T:
    """Remove the keys of a dataclass from the configuration of a command, and return the dataclass.

    Raises:
        ConfigError: a value is not allowed.
    """
    return construct(
        cls, {key.name: values.pop(key.name) for key in fields(cast(Any, cls)) if key.name in values}
    )


def read_folder(values: dict[str, Any], key: str) -> Path:
    """Return the path of a folder from the configuration of a command.

    Raises:
        ConfigError: the value is no text, or an empty one.
    """
    value = values.get(key)
    if not isinstance(value, str) or not value or not is_writable(value):
        example = value if isinstance(value, int | float) else "x"
        shown = "null" if value is None else value
        raise ConfigError(f"{key}={shown} is not allowed; give the path of a folder, such as ./{example}")
    return Path(value)


def read_optional_folder(values: dict[str, Any], key: str) -> Path | None:
    """Return the path of a folder as `read_folder` does, or `None` if the value is null."""
    return None if values.get(key) is None else read_folder(values, key)


def _sentence(error: Exception, command: Command | None) -> str:
    """Return an error as one line that names the key, the value and what is allowed."""
    text = str(error)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConfigKeyError | ConfigAttributeError) and cause.full_key and command:
            return _unknown_key(cause.full_key, command)
        if isinstance(cause, InterpolationKeyError) and cause.full_key:
            key = str(cause).split("'")[1]
            return f"{cause.full_key} refers to the key {key}, which this configuration does not have"
        cause = cause.__cause__
    if text.startswith("Error merging override "):  # Hydra does not say what is allowed
        allowed = "a list" if "object_type=list" in str(error.__cause__) else "a mapping"
        return f"{text.removeprefix('Error merging override ')} is not allowed; give {allowed}"
    if isinstance(error, OverrideParseException) and "=" not in error.override:
        return f"{error.override} is not allowed, because it is no key with a value; give KEY=VALUE"
    if isinstance(error, OverrideParseException):
        return f"{error.override} cannot be parsed: {' '.join(error.message.split())}"
    if isinstance(error, InterpolationResolutionError) and error.full_key:
        return f"{error.full_key} cannot be resolved: {text.splitlines()[0]}"
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} is missing; give {error.full_key}=..."
    return in_one_line(error)


def _unknown_key(key: str, command: Command) -> str:
    """Return an error about an unknown key that lists the keys in its place."""
    if new := {**RENAMED, **command.renamed}.get(key):
        return f"{key} is now {new}; give that key instead"
    parent, _, name = key.rpartition(".")
    chosen: list[list[str]] = []
    for word in sys.argv[1:]:
        group = word.partition("=")[0]
        names, override = choices(group.lstrip("+")), parse_word(word)
        if group != key and names and override:
            chosen.append([f"{group}={each}" for each in _chosen(override, names)] or [word])
    keys: list[str] = []
    for words in itertools.product(*chosen):  # a sweep over a group ends at the first choice without the key
        config = compose_again(command, list(words))
        node = OmegaConf.select(config, parent) if parent else config
        keys = [str(option) for option in node] if OmegaConf.is_dict(node) else []
        if name not in keys:
            break
    close = difflib.get_close_matches(name, keys, 1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    allowed = ", ".join(keys) or "none"
    return f"there is no key {key}{hint}; allowed{f' in {parent}' if parent else ''}: {allowed}"
