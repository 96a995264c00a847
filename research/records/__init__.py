"""A run's folder on disk: who may write it, what is in it, and how far it is. Starts no JAX."""

from research.records.result import FINISHED, RunResult, Seconds
from research.records.run_folder import (
    NOT_IN_THE_RESULT,
    RecordError,
    Run,
    append_metrics,
    find_runs,
    is_finished,
    parameters_checksum,
    read_config,
    read_run,
    start_run,
    write_arrays,
    write_config,
    write_metrics,
    write_result,
)

__all__ = [
    "FINISHED",
    "NOT_IN_THE_RESULT",
    "RecordError",
    "Run",
    "RunResult",
    "Seconds",
    "append_metrics",
    "find_runs",
    "is_finished",
    "parameters_checksum",
    "read_config",
    "read_run",
    "start_run",
    "write_arrays",
    "write_config",
    "write_metrics",
    "write_result",
]
