"""A callback that ends a run with a checkpoint after a signal."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from research import records
from research.parallel.distributed import is_writer, largest
from research.records import RunResult
from research.records.lock import heartbeat
from research.training.callback import Callback, Position
from research.utils.signals import Received, noticed_signals


class StopOnSignal(Callback):
    """Stops training after a signal. A signal to one process of a run stops all of them.

    Args:
        received: returns the signal that was received, or `None`.
    """

    def __init__(self, received: Received) -> None:
        self.received = received

    def on_steps(self, position: Position, count: int) -> str | None:
        """Return the name of the signal that was received, or `None`."""
        number = int(largest(self.received() or 0))
        return signal.Signals(number).name if number else None


@contextlib.contextmanager
def stop_on_signal(*folders: str | Path) -> Iterator[StopOnSignal]:
    """Yield a callback that ends runs after one of `SIGNALS`, with a checkpoint and the status "preempted".

    If the block has not ended a few seconds after the signal, because the device computes or compiles, the
    process ends without another checkpoint, and the runs can continue from an earlier one. Only the main
    thread can handle signals; in another one the callback never stops a run.

    Args:
        folders: the folders of the runs that are trained within the block.
    """

    def give_up(number: signal.Signals) -> None:
        for folder in folders:
            with contextlib.suppress(OSError):  # the disk may be full
                ours = (heartbeat(folder) or {}).get("pid") == os.getpid()
                if ours and is_writer() and not records.is_finished(folder):
                    records.write_result(
                        folder, preempted(number.name, "before a checkpoint could be written")
                    )
        os._exit(128 + number)

    with noticed_signals(give_up) as received:
        yield StopOnSignal(received)


def preempted(reason: str, when: str) -> RunResult:
    """Return the result of a run that was stopped.

    Args:
        reason: the name of a signal, or the text that a callback returned.
        when: the time at which the run stopped, as text.
    """
    number = signal.Signals.__members__.get(reason)
    return RunResult("preempted", f"{reason} {when}", exit_code=1 if number is None else 128 + number)
