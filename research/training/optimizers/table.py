"""The optimizers by name."""

from research.training.optimizers.adagrad import adagrad, rmsprop
from research.training.optimizers.adam import adam, adamw
from research.training.optimizers.adam_variants import adamax, nadam, radam
from research.training.optimizers.gradient_descent import momentum, nesterov, sgd
from research.training.optimizers.muon import muon
from research.training.optimizers.prodigy import prodigy
from research.training.optimizers.schedule_free import schedule_free_adamw
from research.training.optimizers.sign_and_trust import lamb, lion

OPTIMIZERS = {
    "sgd": sgd,
    "momentum": momentum,
    "nesterov": nesterov,
    "adagrad": adagrad,
    "rmsprop": rmsprop,
    "adam": adam,
    "adamw": adamw,
    "adamax": adamax,
    "nadam": nadam,
    "radam": radam,
    "lion": lion,
    "lamb": lamb,
    "muon": muon,
    "prodigy": prodigy,
    "schedule_free_adamw": schedule_free_adamw,
}
"""Functions of a schedule and of the keywords `learning_rate`, `weight_decay`, `clip_norm` and others."""

ONLY_SCHEDULE = {"schedule_free_adamw": "constant"}
"""The schedule of an optimizer that takes no other."""
