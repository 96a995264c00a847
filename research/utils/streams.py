"""Standard output and standard error that never end a program."""

import io
import os
import sys
from typing import Any


class Output:
    """A text stream that keeps an error of the system instead of raising it.

    A terminal that is closed, a full disk, or a letter that the encoding lacks must not end a run. Such a
    letter is written as an escape sequence.

    Args:
        stream: the stream that is written to.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.error: OSError | None = None
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def write(self, text: str) -> int:
        """Write the text, and return its length."""
        try:
            self.stream.write(text)
        except OSError as error:
            self.error = self.error or error
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        try:
            self.stream.flush()
        except OSError as error:
            self.error = self.error or error

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def protect_output() -> None:
    """Make `sys.stdout` and `sys.stderr` an `Output`, and open the null device for a stream that is closed.

    Otherwise the next file that is opened would get the number of the closed stream, and what native code
    prints would be written into that file.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        mode = "w" if number else "r"
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, number)
            if null != number:
                os.close(null)
        stream = getattr(sys, name) or open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115
        if number and not isinstance(stream, Output):
            stream = Output(stream)
        setattr(sys, name, stream)
