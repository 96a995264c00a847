"""Initialisers of kernels, by name."""

from collections.abc import Callable
from typing import Any

from jax.nn.initializers import variance_scaling

# Normal draws are cut off at two deviations and rescaled, so that the variance is the one in the table.
INITIALIZERS: dict[str, Callable[..., Any]] = {
    "he_normal": variance_scaling(2.0, "fan_in", "truncated_normal"),
    "he_uniform": variance_scaling(2.0, "fan_in", "uniform"),
    "he_normal_fan_out": variance_scaling(2.0, "fan_out", "truncated_normal"),
    "he_uniform_fan_out": variance_scaling(2.0, "fan_out", "uniform"),
    "glorot_normal": variance_scaling(1.0, "fan_avg", "truncated_normal"),
    "glorot_uniform": variance_scaling(1.0, "fan_avg", "uniform"),
    "glorot_normal_fan_in": variance_scaling(1.0, "fan_in", "truncated_normal"),
    "glorot_uniform_fan_in": variance_scaling(1.0, "fan_in", "uniform"),
    "glorot_normal_fan_out": variance_scaling(1.0, "fan_out", "truncated_normal"),
    "glorot_uniform_fan_out": variance_scaling(1.0, "fan_out", "uniform"),
}
"""Variance of a kernel ``[..., C_in, C_out]``: 2 / fan (He) or 1 / fan (Glorot).

Fan is the fan_in ``kh * kw * C_in`` for He and the mean of fan_in and fan_out for Glorot, unless the name
says which. ``glorot_*_fan_in`` is LeCun's. Sources: Glorot and Bengio (2010), section 4.2.1;
He et al. (2015), section 2.2.
"""
