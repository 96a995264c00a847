"""SIGTERM and SIGINT as something to ask for, so that a run ends between two steps and not within one."""

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS = 8.0  # that a run has to write its checkpoint

Received = Callable[[], signal.Signals | None]


@contextmanager
def noticed_signals(
    give_up: Callable[[signal.Signals], None], seconds: float = SECONDS
) -> Iterator[Received]:
    """Give a function that returns the first SIGTERM or SIGINT since the block began, or ``None``.

    While the device computes or compiles, Python cannot ask. So a thread waits beside it.

    Args:
        give_up: called in that thread where the block has not ended so many seconds after a signal.
        seconds: how many.
    """
    if threading.current_thread() is not threading.main_thread():  # the only one that may handle signals
        yield lambda: None
        return
    received: list[signal.Signals] = []
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    ended = threading.Event()

    def watch() -> None:
        while number := reader.recv(1):  # the number of each signal that comes; nothing after close
            if number[0] in (signal.SIGTERM, signal.SIGINT):
                if not ended.wait(seconds):
                    give_up(signal.Signals(number[0]))
                return

    def note(number: int, frame: object) -> None:
        received.append(signal.Signals(number))

    handlers = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield lambda: received[0] if received else None
    finally:
        ended.set()
        signal.set_wakeup_fd(previous)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        writer.close()
        watcher.join()
        reader.close()
