"""How a command ends: with its exit code, or with one sentence about an error. This module imports no JAX."""

import errno
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from research.records import RecordError
from research.utils.streams import protect_output
from research.utils.strict import ConfigError

USER_ERRORS = (ConfigError, RecordError, OSError, MemoryError)
"""The errors that a user can correct, in a command that imports no JAX."""


def exit_with(work: Callable[[], int]) -> NoReturn:
    """Exit with the code that `work` returns, or with one sentence and 2 if the user can correct the error.

    Args:
        work: does the work and returns the exit code.
    """
    protect_output()
    warnings.showwarning = lambda message, *_: say(message)
    logger = logging.getLogger("research")
    logger.handlers = [SayHandler()]
    logger.propagate = False  # Hydra gives the root logger a handler of its own
    logger.setLevel(logging.INFO)
    try:
        code = work()
    except USER_ERRORS as error:
        code = say(shorten(in_one_line(error)))
    except KeyboardInterrupt:
        code = say("interrupted", 130)
    sys.stdout.flush()
    error = getattr(sys.stdout, "error", None)
    nobody_reads = (errno.EPIPE, errno.EIO)  # the reader of a pipe, or the terminal, has ended
    if error is not None and error.errno not in nobody_reads:
        code = code or say(f"the output is not complete: {error.strerror}", 1)
    sys.exit(code)


class SayHandler(logging.Handler):
    """Prints the messages of a run, such as which parameters it takes from another run."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the message of a record."""
        say(record.getMessage())


def say(what: object, code: int = 2) -> int:
    """Print what happened after the name of the program, and return the exit code."""
    print(f"{Path(sys.argv[0]).name}: {what}", file=sys.stderr)
    return code


def in_one_line(error: Exception) -> str:
    """Return an error as one line."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return f"the memory does not suffice: {text or 'no size is known'}"
    return text


def shorten(text: str, longest: int = 700) -> str:
    """Return the text, without its middle if it is long. The end of an error says what is allowed."""
    text = text.encode(errors="backslashreplace").decode()
    half = longest // 2
    return text if len(text) <= longest else f"{text[:half]} ... {text[-half:]}"
