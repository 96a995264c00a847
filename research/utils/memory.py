"""Memory that a process no longer uses."""

import contextlib
import ctypes


def give_back_memory() -> None:
    """Give freed memory back to the operating system, if the C library has a function for that.

    The compiler of XLA takes and frees hundreds of MiB in small blocks for each program, and glibc keeps most
    of these for the process, which therefore grows with the number of programs.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
