"""The optimizers by name."""

from research.training.optimizers.adagrad import adagrad, rmsprop
from research.training.optimizers.adam import adam, adamw
from research.training.optimizers.gradient_descent import momentum, nesterov, sgd

OPTIMIZERS = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
}
"""Functions of a schedule and of the keywords `learning_rate`, `weight_decay`, `clip_norm` and others."""
