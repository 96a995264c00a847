"""Initializers of kernels by name."""

from jax.nn.initializers import Initializer, variance_scaling

INITIALIZERS: dict[str, Initializer] = {
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
"""The initializers of kernels `[..., C_in, C_out]` by the name that a layer or a configuration gives.

The elements have mean 0 and variance 2 / fan for He, and 1 / fan for Glorot. If the name does not say which
fan is meant, it is the fan_in `kh * kw * C_in` for He, and the mean of fan_in and fan_out for Glorot.
`glorot_*_fan_in` is the initializer of LeCun. Normal draws are cut off at two standard deviations and
rescaled, so that the variance is the one named here.

Sources: Glorot and Bengio (2010), section 4.2.1; He et al. (2015), section 2.2.
"""
