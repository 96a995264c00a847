"""The one wrapper around every script: compose, call, and turn errors into a sentence and an exit code."""

import difflib
import os
import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from research.config import ConfigError, is_writable
from research.data import DataError
from research.records import RecordError
from research.runs.worker import RunError
from research.training.checkpoint import CheckpointError

CONF = Path(__file__).resolve().parents[2] / "conf"

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
    config_name: str, job: Callable[[dict[str, Any]], Any], after: Callable[[], int] | None = None
) -> None:
    """Compose ``conf/<config_name>.yaml`` with the command line, call ``job``, then ``after``, and exit.

    Args:
        config_name: primary configuration.
        job: called with the resolved configuration as a plain dict; once per job of a multirun.
        after: called once when all jobs have returned; gives the exit code.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises, and the sentence is ours
    errors: list[Exception] = []
    composed: list[Any] = []

    def compose(config: Any) -> Any:
        composed.append(config)
        try:
            values: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
            return job(values)
        except Exception as error:
            settings = HydraConfig.get()
            if settings.mode == RunMode.MULTIRUN and settings.runtime.choices["hydra/launcher"] != "basic":
                raise  # the launcher carries it to the process that waits
            errors.append(error)  # Hydra would print the overrides above our sentence

    def work() -> int:
        try:
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(compose)()
        except (ValueError, TypeError, AttributeError, LookupError, AssertionError) as error:
            if composed:
                raise
            raise HydraException(str(error)) from None  # Hydra has no type of its own for all it refuses
        if errors:
            raise errors[0]
        return after() if after else 0

    exit_with(work, config_name)


def exit_with(work: Callable[[], int], config_name: str = "config") -> NoReturn:
    """Exit with what ``work`` returns, or with 2 and one sentence where the user can mend the error."""
    import jax  # not before research, which says what XLA may log

    warnings.showwarning = lambda message, *_: _say(message)
    try:
        code = work()
    except USER_ERRORS as error:
        code = _say(_shorten(_sentence(error, config_name)))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        reason = str(error).partition("RESOURCE_EXHAUSTED: ")[2].splitlines()[0]
        code = _say(f"the memory does not suffice: {reason}")
    except RunError as error:
        code = _say(error, 1)
    except (RuntimeError, AssertionError):
        platforms = os.environ.get("JAX_PLATFORMS")
        if not platforms or _starts(jax.devices):
            raise
        code = _say(f"JAX_PLATFORMS={platforms} is not allowed; JAX has no such device here, give cpu")
    except KeyboardInterrupt:
        code = _say("interrupted", 130)
    try:
        sys.stdout.flush()
    except OSError as error:  # a full disk, or a reader that went away
        code = code or _say(f"what was printed is not complete: {error.strerror}", 1)
        sys.stdout = None  # else Python tries again, and says so with a traceback
    sys.exit(code)


def _say(what: object, code: int = 2) -> int:
    print(f"{Path(sys.argv[0]).name}: {what}", file=sys.stderr)
    return code


def _starts(start: Callable[[], Any]) -> bool:
    try:
        start()
    except (RuntimeError, AssertionError):
        return False
    return True


def pop_choice(values: dict[str, Any], key: str, allowed: tuple[Any, ...]) -> Any:
    """Take a choice that is the script's own out of its configuration.

    Raises:
        ConfigError: it is none of those allowed.
    """
    value = values.pop(key, None)
    if not any(value is choice or (value == choice and isinstance(value, str)) for choice in allowed):
        names = ", ".join(str(choice).lower() for choice in allowed)
        raise ConfigError(f"{key}={value} is not allowed; give one of {names}")
    return value


def pop_folder(values: dict[str, Any], key: str = "run") -> Path:
    """Take the path of a folder out of a script's configuration.

    Raises:
        ConfigError: it is no text, or an empty one.
    """
    value = values.pop(key, None)
    if not isinstance(value, str) or not value or not is_writable(value):
        example = value if isinstance(value, int | float) else "x"
        shown = "null" if value is None else value
        raise ConfigError(f"{key}={shown} is not allowed; give the path of a folder, such as ./{example}")
    return Path(value)


def _sentence(error: Exception, config_name: str) -> str:
    """One line for a person: which key, which value, what is allowed."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    cause: BaseException = error
    while isinstance(cause, HydraException) and cause.__cause__ is not None:
        cause = cause.__cause__
    text = str(error)
    if isinstance(error, MemoryError):
        return f"the memory does not suffice: {text or 'no size is known'}"
    if "Config group override must be" in text:
        for word in sys.argv[1:]:
            group, _, value = word.lstrip("+").partition("=")
            names = sorted(path.stem for path in (CONF / group).glob("*.yaml")) if group else []
            if names and value not in names:
                return f"{group}={value} is not allowed; give one of {', '.join(names)}"
    unknown = re.search(r"full_key: (\S+)", f"{text}\n{cause}")
    if "Could not override" in text and unknown:
        return _unknown_key(unknown[1], config_name)
    options = re.search(r"Could not find '([^']+)'\s+Available options in '([^']+)':((?:\n\t\S+)+)", text)
    if options:
        group = options[2]
        value = options[1].removeprefix(f"{group}/")
        return f"{group}={value} is not allowed; give one of {', '.join(options[3].split())}"
    if isinstance(error, OverrideParseException):
        return f"{error.override} cannot be parsed: {' '.join(error.message.split())}"
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} is missing; give {error.full_key}=..."
    return " ".join(text.split())


def _shorten(text: str, longest: int = 700) -> str:
    """The text without the middle of it where it is long: what is allowed stands at its end."""
    text = text.encode(errors="backslashreplace").decode()
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]} ... {text[-half:]}"


def _unknown_key(key: str, config_name: str) -> str:
    """Say of a key that is not there which ones are, by composing again without it."""
    groups = [word for word in sys.argv[1:] if "=" in word and word.split("=")[0] != key]
    parent, _, name = key.rpartition(".")
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        choices = [word for word in groups if (CONF / word.split("=")[0].lstrip("+")).is_dir()]
        config = hydra.compose(config_name, overrides=choices)
    node = OmegaConf.select(config, parent) if parent else config
    keys = [str(option) for option in node] if OmegaConf.is_dict(node) else []
    close = difflib.get_close_matches(name, keys, 1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"there is no key {key}{hint}; allowed{f' in {parent}' if parent else ''}: {', '.join(keys)}"
