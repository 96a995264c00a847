"""What a service counts, in the text format of Prometheus."""

from collections.abc import Callable, Sequence

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from scipy.special import softmax


class Metrics:
    """The numbers of a service since its start.

    The images that clients send may differ from the training images. Then the shares of the predicted classes
    or the mean confidence differ between the images that were served and the test split.

    Args:
        class_names: the names of the `K` classes.
        num_waiting: returns the number of images that wait or are being predicted.
        test_logits: the logits `[N, K]` of the test split; `None` if they are not known.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        num_waiting: Callable[[], float],
        test_logits: np.ndarray | None = None,
    ) -> None:
        self._class_names, self._registry = class_names, CollectorRegistry()
        self.responses = Counter(
            "cnn_responses", "Responses by their status.", ["status"], registry=self._registry
        )
        self.seconds = Histogram(
            "cnn_response_seconds", "Seconds until the answer to POST /predict.", registry=self._registry
        )
        self.batch_images = Histogram(
            "cnn_batch_images",
            "Images in a batch.",
            registry=self._registry,
            buckets=(1, 2, 4, 8, 16, 32, 64, np.inf),
        )
        waiting = Gauge("cnn_waiting_images", "Images that wait or are predicted.", registry=self._registry)
        waiting.set_function(num_waiting)
        self._images = Gauge(
            "cnn_predicted_images", "Images with a prediction.", ["source"], registry=self._registry
        )
        self._share = Gauge(
            "cnn_class_share",
            "Share of a class among the predictions, in [0, 1].",
            ["source", "class"],
            registry=self._registry,
        )
        self._confidence = Gauge(
            "cnn_mean_confidence",
            "Mean probability of the predicted class, in [0, 1].",
            ["source"],
            registry=self._registry,
        )
        self._counts, self._total_confidence = np.zeros(len(class_names), np.int64), 0.0
        if test_logits is not None:
            probabilities = softmax(np.asarray(test_logits, np.float64), axis=-1)
            counts = self._count_classes(probabilities)
            self._set("test", counts, float(probabilities.max(-1).sum()))

    def count(self, probabilities: np.ndarray) -> None:
        """Count the predictions `[N, K]` of images that were served."""
        self._counts += self._count_classes(probabilities)
        self._total_confidence += float(probabilities.max(-1).sum())

    def text(self) -> bytes:
        """Return all numbers. The shares of the classes are left out before the first prediction."""
        self._set("served", self._counts, self._total_confidence)
        return generate_latest(self._registry)

    def _count_classes(self, probabilities: np.ndarray) -> np.ndarray:
        return np.bincount(probabilities.argmax(-1), minlength=len(self._class_names))

    def _set(self, source: str, counts: np.ndarray, total_confidence: float) -> None:
        total = int(counts.sum())
        self._images.labels(source).set(total)
        if total:
            self._confidence.labels(source).set(total_confidence / total)
            for name, count in zip(self._class_names, counts, strict=True):
                self._share.labels(source, name).set(count / total)
