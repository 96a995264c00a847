"""The model card of a run: what its network was trained on, how well it works, and where it does not."""

import numpy as np
from scipy.special import ndtri, softmax

from research.config import Config
from research.data import Dataset
from research.records import RunResult
from research.utils.strict import to_plain
from research.utils.yaml_text import write_yaml

NUM_BINS = 15
"""The number of bins of equal width for the calibration error."""


def model_card(config: Config, result: RunResult, dataset: Dataset, logits: np.ndarray) -> str:
    """Return the Markdown of a model card.

    Args:
        config: the configuration of the run.
        result: the result of the run, which completed.
        dataset: the data of the run.
        logits: the logits `[N, K]` of the test split.

    Source: Mitchell et al. (2019), Model cards for model reporting.
    """
    labels, names = dataset.test.labels, dataset.class_names
    probabilities = softmax(np.asarray(logits, np.float64), axis=-1)
    confidence, right = probabilities.max(-1), probabilities.argmax(-1) == labels
    low, high = wilson_interval(int(right.sum()), len(labels))
    recalls = {names[label]: right[labels == label].mean() for label in np.unique(labels)}
    worst = min(recalls, key=lambda name: recalls[name])
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    keys = ("model", "optimizer", "schedule", "loss", "init_from")
    recipe = {key: to_plain(getattr(config, key)) for key in keys}
    recipe["augmentations"] = to_plain(config.data.augmentations)
    recipe_text = write_yaml(recipe).strip()
    training, origin = config.training, result.provenance
    versions = ", ".join(f"{name} {version}" for name, version in origin["versions"].items())
    changed = " with changes" if origin["dirty"] else ""
    size = " x ".join(map(str, dataset.image_shape))
    return f"""# {config.model.name} on {dataset.name}

A network with {result.num_parameters:,} parameters that puts an image into one of {len(names)} classes:
{shown}.

## Data

- {dataset.name}: images of {size} (height, width, channels).
- Split: {len(dataset.train.labels):,} images for training, {len(dataset.validation.labels):,} for validation,
  {len(labels):,} for testing. The test split was read once, at the end.
- sha256 of the images: {dataset.checksum}

## Recipe

Seed {config.seed}, {result.epochs} epochs, {training.batch_size} images a step, {training.precision}.
The parameters are those of epoch {result.best_epoch}.

```yaml
{recipe_text}
```

## Accuracy

| measured on {len(labels):,} test images | value |
|---|---|
| accuracy | {result.test_accuracy:.2%}, 95 % interval {low:.2%} to {high:.2%} |
| cross-entropy | {result.test_loss:.4f} nats |
| mean confidence | {confidence.mean():.2%} |
| calibration error ({NUM_BINS} bins) | {calibration_error(confidence, right):.2%} |
| lowest accuracy of a class | {worst}: {recalls[worst]:.2%} |

The interval (Wilson) is that of this network on other images of the same kind. Other seeds vary, too.

## Known limits

- The network always gives one of its classes, also for images that belong to none of them.
- The numbers hold for images like those of {dataset.name}. Other cameras or other preparation can lower them.
- The probabilities are those of the softmax. The calibration error is the mean distance between them and the
  share of right answers.
- Nobody has tested whether the network treats groups of people equally, or withstands images that are made to
  mislead it.

## How it was made

- Command: `{origin["command"]}`
- Commit {origin["commit"] or "unknown"}{changed}; Python {origin["python"]}; {versions}
- {origin["device"]}, started {origin["started"]}
"""


def wilson_interval(right: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, for `right` of `count` examples.

    It is written here, since importing `scipy.stats` takes as long as a small run.

    Source: Wilson (1927), Probable inference, the law of succession, and statistical inference.
    """
    z = ndtri(0.975)
    centre = (right + z**2 / 2) / (count + z**2)
    half = z / (count + z**2) * np.sqrt(right * (count - right) / count + z**2 / 4)
    return float(centre - half), float(centre + half)


def calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Return the expected calibration error, in [0, 1].

    Args:
        confidence: the largest probability of each example `[N]`.
        right: whether the class with that probability is the label `[N]`.

    Source: Guo et al. (2017), On calibration of modern neural networks, section 2.
    """
    bins = np.clip(np.ceil(confidence * NUM_BINS) - 1, 0, NUM_BINS - 1).astype(int)
    gaps = np.bincount(bins, confidence - right, NUM_BINS)
    return float(np.abs(gaps).sum() / len(confidence))
