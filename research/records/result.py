"""The result of a run, as `result.json` stores it. Every reader uses this dataclass."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

RESULT_FORMAT = 3
"""Version of the schema of `RunResult`. An error about a file of another version names both versions."""

STATUSES = ("completed", "diverged", "stopped", "failed", "preempted", "died", "locked", "missing")
"""The statuses of a run. The last three are never stored, because such a run has written no result: its
process died, another process has its folder, or it has not finished."""

FINISHED = ("completed", "diverged", "stopped")
"""Statuses of runs that are over: they never continue. A callback gave up those that are "stopped"."""


NOT_IN_THE_RESULT = (
    "data.dir",
    "data.cache_dir",
    "data.in_memory",
    "data.workers",
    "training.checkpoint_every",
    "training.keep_checkpoints",
    "training.runs_per_program",
    "parallel.mesh.run",
    "distributed",
    "logging",
    "debug.nans",
)
"""Keys of a configuration that change no number of a run: the folder of the data and how it is read, the
number of checkpoints, the other runs of the same program, and the processes."""


@dataclass(frozen=True)
class Seconds:
    """The time that the parts of a run took, in seconds of wall-clock time.

    Args:
        compile: tracing and compiling; 0 if an earlier run in the process had compiled the same program.
        train: training steps, without compilation and validation.
        total: from reading the data to the last measurement.
        shared_by: number of runs that one program trained; the other fields are already divided by it.
    """

    compile: float
    train: float
    total: float
    shared_by: int = 1


@dataclass(frozen=True)
class RunResult:
    """The outcome of one run.

    Fields that a run did not reach are `None`: a run that diverged has no accuracy, and a trial, which
    never reads the test split, has no test accuracy.

    Args:
        status: one of `STATUSES`.
        error: one sentence that says what went wrong; `None` if the run completed.
        traceback: Python's traceback of a run that raised.
        exit_code: exit code of the process; above 128 if a signal ended the run.
        test_accuracy, validation_accuracy: share of the examples that are classified correctly, in [0, 1].
        test_loss, validation_loss: mean cross-entropy in nats.
        epochs: number of epochs that were completed.
        best_epoch: epoch whose parameters were kept, counted from 1.
        num_parameters: number of trainable parameters.
        seconds: the time that the parts of the run took.
        images_per_s: training images per second, without compilation and validation.
        temporary_bytes: temporary memory of the compiled training steps, if the backend reports it.
        measurements: further numbers by name, such as `peak_mib`; None where a number is not finite.
        provenance: code, versions, machine and checksum of the data.

    Example:
        >>> result = RunResult("completed", test_accuracy=0.98)
        >>> RunResult.from_dict(result.to_dict()) == result
        True
    """

    status: str
    error: str | None = None
    traceback: str | None = None
    exit_code: int = 0
    test_accuracy: float | None = None
    test_loss: float | None = None
    validation_accuracy: float | None = None
    validation_loss: float | None = None
    epochs: int | None = None
    best_epoch: int | None = None
    num_parameters: int | None = None
    seconds: Seconds | None = None
    images_per_s: float | None = None
    temporary_bytes: int | None = None
    measurements: Mapping[str, float | None] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status={self.status!r} is not allowed; give one of {', '.join(STATUSES)}")

    def to_dict(self) -> dict[str, Any]:
        """Return the plain dict that `from_dict` reads; it also holds the version of the format."""
        return {"format": RESULT_FORMAT} | dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "RunResult":
        """Return the result from which `to_dict` made a dict.

        Raises:
            ValueError: the format is another one, or a status or a key is unknown.
        """
        fields = dict(values)
        version = fields.pop("format", None)
        if version != RESULT_FORMAT:
            raise ValueError(f"it has format {version!r}; this version reads format {RESULT_FORMAT}")
        unknown = fields.keys() - {item.name for item in dataclasses.fields(cls)}
        if unknown or "status" not in fields:
            raise ValueError(
                f"its keys are not those of a result: {', '.join(sorted(unknown)) or 'no status'}"
            )
        if fields.get("seconds") is not None:
            try:
                fields["seconds"] = Seconds(**fields["seconds"])
            except TypeError as error:
                raise ValueError(f"its seconds are not those of a result: {error}") from error
        return cls(**fields)
