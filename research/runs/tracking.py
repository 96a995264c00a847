"""The callback that writes parameters and metrics to MLflow."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from research.config import Config, ConfigError
from research.records.layer_statistics import scalars
from research.records.tracking import (
    connect,
    read_tracking,
    say_lost,
    short_text,
    tracking_uri,
    write_tracking,
)
from research.runs.callbacks import as_points
from research.runs.layer_statistics import StatisticsWriter
from research.training.callback import Callback, EpochMetrics, Position
from research.utils.nested import dotted_keys

LONGEST = 6000
"""The largest number of characters of a parameter in MLflow."""

AT_ONCE = 100
"""The largest number of parameters, or of metrics, that are written in one request."""


class Mlflow(Callback):
    """Writes the configuration of a run and each epoch's metrics to MLflow.

    A run that continues goes on in its MLflow run. Points that are there already are not written again, so
    each epoch has one point. A point that cannot be written is tried again at the next epoch.

    Args:
        folder: the folder of the run.
        config: the configuration of the run.
        statistics: the callback before this one that measures the layers; `None`: nothing measures them.

    Raises:
        ConfigError: the server cannot be reached, or the store cannot be written.
    """

    def __init__(
        self, folder: str | Path, config: Config, statistics: StatisticsWriter | None = None
    ) -> None:
        self._folder, self._config, self._statistics = Path(folder), config, statistics
        tracked = read_tracking(self._folder)
        self._uri = tracked[0] if tracked else tracking_uri()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or (config.study and config.study.name)
        try:
            self._client = connect(self._uri)
            self._experiment = self._experiment_id(name or "cnn-research")
        except Exception as error:  # MLflow and its stores raise many types
            raise ConfigError(
                f"MLFLOW_TRACKING_URI={self._uri} cannot be used ({short_text(error)}); give the address "
                "of a server, or a folder as file:///FOLDER"
            ) from error
        self._pending: dict[tuple[str, int], float] = {}
        self._logged: set[tuple[str, int]] = set()

    def on_start(self, position: Position, num_steps: int) -> None:
        """Begin an MLflow run, or continue that of the folder, and write the points that it lacks."""
        tracked = read_tracking(self._folder)
        self._run_id = tracked[1] if tracked and self._continue(tracked[1]) else self._begin()
        write_tracking(self._folder, self._uri, self._run_id)
        for metrics in position.history:
            self._add(as_points(metrics), metrics.step)
        self._flush()

    def on_epoch(self, metrics: EpochMetrics) -> None:
        """Write the metrics of the epoch at its step, under names such as `loss/train`."""
        self._add(as_points(metrics), metrics.step)
        self._flush()

    def on_end(self) -> None:
        """Mark the MLflow run as ended. `finish_tracking` ends it with the status of the result."""
        try:
            self._client.update_run(self._run_id, status="KILLED")
        except Exception as error:
            say_lost(error)

    def _experiment_id(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return found.experiment_id
        try:
            return self._client.create_experiment(name)
        except Exception:  # another process has just made it
            found = self._client.get_experiment_by_name(name)
            if found is None:
                raise
            return found.experiment_id

    def _begin(self) -> str:
        from mlflow.entities import Param

        run = self._client.create_run(self._experiment, run_name=self._config.run_name())
        values = dotted_keys(self._config.to_dict())
        params = [Param(key, str(value)[:LONGEST]) for key, value in values.items()]
        for start in range(0, len(params), AT_ONCE):
            self._client.log_batch(run.info.run_id, params=params[start : start + AT_ONCE])
        return run.info.run_id

    def _continue(self, run_id: str) -> bool:
        """Return whether the MLflow run still exists, after reading which points it has."""
        try:
            run = self._client.get_run(run_id)
            for key in run.data.metrics:
                self._logged |= {(key, each.step) for each in self._client.get_metric_history(run_id, key)}
            self._client.update_run(run_id, status="RUNNING")
        except Exception:  # the user deleted it
            return False
        return run.info.lifecycle_stage == "active"

    def _add(self, points: Mapping[str, Any], step: int) -> None:
        self._pending |= {(key, step): value for key, value in points.items()}

    def _flush(self) -> None:
        from mlflow.entities import Metric

        for line in self._statistics.lines if self._statistics else ():
            self._add(scalars(line), line["step"])
        left = [(point, value) for point, value in self._pending.items() if point not in self._logged]
        now = int(time.time() * 1000)
        try:
            for start in range(0, len(left), AT_ONCE):
                part = left[start : start + AT_ONCE]
                metrics = [Metric(key, value, now, step) for (key, step), value in part]
                self._client.log_batch(self._run_id, metrics=metrics)
                self._logged |= {point for point, _ in part}
        except Exception as error:  # the server may be back at the next epoch
            say_lost(error)
