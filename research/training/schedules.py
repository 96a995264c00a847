"""Learning-rate schedules as factors of the peak learning rate.

A schedule is a function of the step that returns a factor in [0, 1]. The learning rate itself is data in
the optimizer's state, so that runs which differ only in it share one compiled program.
"""

from typing import Annotated

import optax

from research.utils.constraints import Between, Fraction, Positive, Rate


def constant(num_steps: int) -> optax.Schedule:
    """The peak learning rate throughout."""
    return optax.constant_schedule(1.0)


def step(
    num_steps: int, *, drops: Annotated[int, Between(1, 1000)] = 2, factor: Annotated[float, Fraction] = 0.1
) -> optax.Schedule:
    """Multiply by ``factor`` ``drops`` times, at equal distances (He et al. 2016, section 4.2)."""
    boundaries = {num_steps * (i + 1) // (drops + 1): factor for i in range(drops)}
    return optax.piecewise_constant_schedule(1.0, boundaries)


def exponential(num_steps: int, *, final: Annotated[float, Fraction] = 0.01) -> optax.Schedule:
    """Decay by a constant factor per step down to ``final`` at the last step."""
    return optax.exponential_decay(1.0, num_steps, final)


def cosine(num_steps: int, *, final: Annotated[float, Rate] = 0.0) -> optax.Schedule:
    """Half a cosine from 1 to ``final`` (Loshchilov & Hutter 2017, equation 5)."""
    return optax.cosine_decay_schedule(1.0, num_steps, final)


def onecycle(
    num_steps: int,
    *,
    warmup: Annotated[float, Fraction] = 0.3,
    start_divisor: Annotated[float, Positive] = 25.0,
    final_divisor: Annotated[float, Positive] = 1e4,
) -> optax.Schedule:
    """Up for the share ``warmup`` of the steps, then down, both by a cosine (Smith & Topin 2019)."""
    return optax.cosine_onecycle_schedule(num_steps, 1.0, warmup, start_divisor, final_divisor)


def warmup_cosine(
    num_steps: int, *, warmup: Annotated[float, Fraction] = 0.1, final: Annotated[float, Rate] = 0.0
) -> optax.Schedule:
    """Linear warm-up for the share ``warmup`` of the steps, then half a cosine (Goyal et al. 2017)."""
    warmup_steps = max(1, round(num_steps * warmup))
    return optax.warmup_cosine_decay_schedule(0.0, 1.0, warmup_steps, max(num_steps, warmup_steps + 1), final)


SCHEDULES = {
    "constant": constant,
    "step": step,
    "exponential": exponential,
    "cosine": cosine,
    "onecycle": onecycle,
    "warmup_cosine": warmup_cosine,
}
