"""Signals that end a run, as a value that code can read, so that a run can end between two steps."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
"""The signals that end a run. A closed terminal sends SIGHUP, and SLURM may warn a job by SIGUSR1."""

SECONDS = 8.0
"""The time that a run has to write its checkpoint after a signal, in seconds."""

Received = Callable[[], signal.Signals | None]
"""A function that returns the signal that was received, or `None`."""


@contextmanager
def noticed_signals(
    give_up: Callable[[signal.Signals], None], seconds: float = SECONDS
) -> Iterator[Received]:
    """Yield a function that returns the first of `SIGNALS` in the block, or `None` if there was none.

    A signal that is ignored stays ignored, as SIGHUP is under `nohup`.

    Python code does not run while the device computes or compiles, so the block may notice a signal late.
    Therefore a thread waits for signals, too, and ends the process by `give_up` if the block takes too long.

    Args:
        give_up: the function that the thread calls with the signal if the block has not ended in time.
        seconds: the time in seconds that the block has after a signal.
    """
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield lambda: None
        return
    received: list[signal.Signals] = []
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    ended = threading.Event()

    def watch() -> None:
        while number := os.read(reader, 1):  # one byte is the number of a signal; there is none after close
            if number[0] in handlers:
                if not ended.wait(seconds):
                    give_up(signal.Signals(number[0]))
                return

    def note(number: int, frame: object) -> None:
        received.append(signal.Signals(number))

    # `getsignal` returns None for a handler that was not set from Python
    noticed = [number for number in SIGNALS if signal.getsignal(number) not in (signal.SIG_IGN, None)]
    handlers = {number: signal.signal(number, note) for number in noticed}
    previous = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: received[0] if received else None
    finally:
        ended.set()
        signal.set_wakeup_fd(previous)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(writer)
        watcher.join()
        os.close(reader)
