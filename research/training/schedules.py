"""Learning-rate schedules as factors of the peak learning rate.

A schedule is a function of the step that returns a factor in [0, 1]. Steps are counted from 0, so a run of
`num_steps` steps ends with step `num_steps - 1`. With one step, every schedule gives the factor 1. The
learning rate itself is data in the state of the optimizer, so that runs that differ only in it share one
compiled program.
"""

import itertools
from collections import Counter
from typing import Annotated

import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from research.utils.constraints import AtLeastOne, Between, Fraction, Positive, Rate


def constant(num_steps: int) -> optax.Schedule:
    r"""Return the schedule that is always 1.

    $$
    s_t = 1
    $$

    Args:
        num_steps: number of training steps; the schedule does not depend on it.

    Example:
        >>> float(constant(10)(5))
        1.0
    """
    return optax.constant_schedule(1.0)


def step(
    num_steps: int, *, drops: Annotated[int, Between(1, 1000)] = 2, factor: Annotated[float, Fraction] = 0.1
) -> optax.Schedule:
    r"""Return the schedule that drops by a factor at equally spaced steps.

    With $T$ steps, $n$ drops and the factor $f$:

    $$
    s_t = f^{k}, \qquad k = \left|\{ i \in 1 \ldots n : t \ge i T / (n + 1) \}\right|
    $$

    Args:
        num_steps: number of training steps.
        drops: number of drops of the learning rate.
        factor: the number by which each drop multiplies the learning rate.

    Example:
        >>> [round(float(step(9)(t)), 2) for t in (2, 3, 6)]
        [1.0, 0.1, 0.01]

    Source: He, Zhang, Ren & Sun (2016), Deep residual learning for image recognition, section 4.2.
    """
    firsts = Counter(-(-num_steps * i // (drops + 1)) for i in range(1, drops + 1))
    return optax.piecewise_constant_schedule(1.0, {first: factor**count for first, count in firsts.items()})


def exponential(num_steps: int, *, final: Annotated[float, Fraction] = 0.01) -> optax.Schedule:
    r"""Return the schedule that decreases exponentially, by the same factor at each step.

    With $T$ steps and the final factor $f$:

    $$
    s_t = f^{t / (T - 1)}
    $$

    Args:
        num_steps: number of training steps.
        final: factor of the learning rate at the last step.

    Example:
        >>> [round(float(exponential(11, final=0.25)(t)), 3) for t in (0, 5, 10)]
        [1.0, 0.5, 0.25]
    """
    if num_steps == 1:
        return constant(num_steps)
    return optax.exponential_decay(1.0, num_steps - 1, final)


def cosine(num_steps: int, *, final: Annotated[float, Rate] = 0.0) -> optax.Schedule:
    r"""Return the schedule that falls along half a cosine, whose end follows the last step.

    With $T$ steps and the final factor $f$:

    $$
    s_t = f + (1 - f) \frac{1 + \cos(\pi t / T)}{2}
    $$

    Args:
        num_steps: number of training steps.
        final: factor of the learning rate after the last step, which is step $T$.

    Example:
        >>> [round(float(cosine(10)(t)), 3) for t in (0, 5, 9, 10)]
        [1.0, 0.5, 0.024, 0.0]

    Source: Loshchilov & Hutter (2017), SGDR: stochastic gradient descent with warm restarts, equation 5.
    """
    return optax.cosine_decay_schedule(1.0, num_steps, final)


def onecycle(
    num_steps: int,
    *,
    warmup: Annotated[float, Fraction] = 0.3,
    start_divisor: Annotated[float, Positive] = 25.0,
    final_divisor: Annotated[float, Positive] = 1e4,
) -> optax.Schedule:
    r"""Return the schedule that rises along half a cosine and then falls along another.

    With $T \ge 2$ steps, $W$ of them warm-up, and the divisors $a$ and $b$, the schedule interpolates between
    three points by $c(u) = (1 - \cos(\pi u)) / 2$:

    $$
    s_0 = \frac{1}{a}, \qquad s_W = 1, \qquad s_T = \frac{1}{a b}
    $$

    Args:
        num_steps: number of training steps.
        warmup: share of the steps in which the learning rate rises; $W$ is at least 1 and at most $T - 1$.
        start_divisor: the peak learning rate divided by the learning rate of the first step.
        final_divisor: the learning rate of the first step divided by that after the last step, which is
            step $T$.

    Example:
        >>> [round(float(onecycle(100)(t)), 3) for t in (0, 30, 100)]
        [0.04, 1.0, 0.0]

    Source: Smith & Topin (2019), Super-convergence: very fast training of neural networks using large
    learning rates.
    """
    if num_steps == 1:
        return constant(num_steps)
    warmup_steps = min(max(1, int(warmup * num_steps)), num_steps - 1)
    return optax.piecewise_interpolate_schedule(
        "cosine",
        1 / start_divisor,
        {warmup_steps: start_divisor, num_steps: 1 / (start_divisor * final_divisor)},
    )


def warmup_cosine(
    num_steps: int, *, warmup: Annotated[float, Fraction] = 0.1, final: Annotated[float, Rate] = 0.0
) -> optax.Schedule:
    r"""Return the schedule that rises linearly and then falls along half a cosine.

    With $T$ steps, $W$ of them warm-up, and the final factor $f$:

    $$
    s_t = \begin{cases}
    (t + 1) / (W + 1) & t < W \\
    f + (1 - f) \frac{1 + \cos(\pi (t - W) / (T - W))}{2} & t \ge W
    \end{cases}
    $$

    The first step has the factor $1 / (W + 1)$ and not 0, because a step with the factor 0 would train
    nothing.

    Args:
        num_steps: number of training steps.
        warmup: share of the steps in which the learning rate rises; $W$ is at least 1 and at most $T - 1$.
        final: factor of the learning rate after the last step, which is step $T$.

    Example:
        >>> [round(float(warmup_cosine(90)(t)), 3) for t in (0, 4, 9, 90)]
        [0.1, 0.5, 1.0, 0.0]

    Source: Goyal et al. (2017), Accurate, large minibatch SGD: training ImageNet in 1 hour, section 2.2.
    """
    warmup_steps = min(max(1, round(num_steps * warmup)), num_steps - 1)
    first = 1 / (warmup_steps + 1)
    return optax.warmup_cosine_decay_schedule(first, 1.0, warmup_steps, num_steps, final)


def cosine_restarts(
    num_steps: int,
    *,
    cycles: Annotated[int, Between(1, 100)] = 3,
    growth: Annotated[float, Between(1, 100)] = 2.0,
    final: Annotated[float, Rate] = 0.0,
) -> optax.Schedule:
    r"""Return the schedule that falls along half a cosine several times, from the peak each time.

    With $T$ steps, $n$ cycles, the growth $g$ and the final factor $f$, cycle $i$ starts at step $T_i$:

    $$
    T_i = \left\lfloor T \frac{1 + g + \dots + g^{i-1}}{1 + g + \dots + g^{n-1}} \right\rfloor, \qquad
    s_t = f + (1 - f) \frac{1 + \cos(\pi (t - T_i) / (T_{i+1} - T_i))}{2}
    $$

    Args:
        num_steps: number of training steps.
        cycles: number of times that the schedule falls.
        growth: length of a cycle divided by that of the cycle before it.
        final: factor of the learning rate at the end of each cycle.

    Example:
        >>> [round(float(cosine_restarts(14)(t)), 3) for t in (0, 1, 2, 4, 6, 10, 14)]
        [1.0, 0.5, 1.0, 0.5, 1.0, 0.5, 0.0]

    Source: Loshchilov & Hutter (2017), SGDR: stochastic gradient descent with warm restarts, section 3.
    """
    bounds = cycle_bounds(num_steps, cycles, growth)
    falls = [cosine(end - start, final=final) for start, end in itertools.pairwise(bounds)]
    return optax.join_schedules(falls, bounds[1:-1])


def cycle_bounds(num_steps: int, cycles: int, growth: float) -> list[int]:
    """Return the step at which each cycle of `cosine_restarts` starts, and the number of steps.

    Example:
        >>> cycle_bounds(14, 3, 2.0)
        [0, 2, 6, 14]
    """
    weights = [growth**i for i in range(cycles)]
    starts = {int(num_steps * sum(weights[:i]) / sum(weights)) for i in range(cycles)}
    return [*sorted(starts), num_steps]


def polynomial(
    num_steps: int,
    *,
    power: Annotated[float, Positive] = 1.0,
    final: Annotated[float, Rate] = 0.0,
) -> optax.Schedule:
    r"""Return the schedule that falls along a power of the share of steps that are left.

    With $T$ steps, the power $p$ and the final factor $f$:

    $$
    s_t = f + (1 - f) \left(1 - \frac{t}{T}\right)^p
    $$

    Args:
        num_steps: number of training steps.
        power: the power; 1 is a straight line.
        final: factor of the learning rate after the last step, which is step $T$.

    Example:
        >>> [round(float(polynomial(10, power=2.0)(t)), 3) for t in (0, 5, 9, 10)]
        [1.0, 0.25, 0.01, 0.0]
    """
    return optax.polynomial_schedule(1.0, final, power, num_steps)


def trapezoid(
    num_steps: int,
    *,
    warmup: Annotated[float, Fraction] = 0.1,
    decay: Annotated[float, Fraction] = 0.2,
    final: Annotated[float, Rate] = 0.0,
) -> optax.Schedule:
    r"""Return the schedule that rises linearly, stays at its peak and falls linearly.

    With $T$ steps, $W$ of them warm-up and $D$ of them decay, and the final factor $f$:

    $$
    s_t = \min\left(\frac{t + 1}{W + 1}, \; 1, \; f + (1 - f) \frac{T - t}{D}\right)
    $$

    Args:
        num_steps: number of training steps.
        warmup: share of the steps in which the learning rate rises; $W$ is at least 1 and at most $T - 1$.
        decay: share of the steps in which the learning rate falls; $D$ is at least 1 and at most $T - W$.
        final: factor of the learning rate after the last step, which is step $T$.

    Example:
        >>> [round(float(trapezoid(90)(t)), 3) for t in (0, 4, 9, 72, 81, 90)]
        [0.1, 0.5, 1.0, 1.0, 0.5, 0.0]

    Source: Hägele et al. (2024), Scaling laws and compute-optimal training beyond fixed training durations,
    section 3.
    """
    rising = min(max(1, round(num_steps * warmup)), num_steps - 1)
    falling = min(max(1, round(num_steps * decay)), num_steps - rising)

    def schedule(step: ArrayLike) -> ArrayLike:
        fall = final + (1 - final) * (num_steps - step) / falling
        return jnp.minimum(jnp.minimum((step + 1) / (rising + 1), 1.0), fall)

    return schedule


def plateau(
    num_steps: int,
    *,
    factor: Annotated[float, Fraction] = 0.1,
    patience: Annotated[int, AtLeastOne] = 5,
    cooldown: Annotated[int, Between(0)] = 0,
    tolerance: Annotated[float, Fraction] = 1e-4,
) -> optax.Schedule:
    r"""Return the schedule that is 1 within an epoch, and drops when the validation does not improve.

    Only this function is a schedule of the step. After each epoch, `make_plateau` gives the monitored
    measure $v_e$ of epoch $e$ (`training.monitor`: the loss, or 1 minus the accuracy) to optax's
    `reduce_on_plateau`. The learning rate is multiplied by the factor $f$ when $v_e$ was not below
    $(1 - \tau) \min_{i < e} v_i$ for as many epochs as the patience says, where $\tau$ is the tolerance.

    Args:
        num_steps: number of training steps; the schedule does not depend on it.
        factor: the number by which a drop multiplies the learning rate.
        patience: number of epochs without a better measure before a drop.
        cooldown: number of epochs after a drop that do not count.
        tolerance: share by which the measure must fall to be better.

    Example:
        >>> float(plateau(10)(5))
        1.0
    """
    return constant(num_steps)


SCHEDULES = {
    "constant": constant,
    "step": step,
    "exponential": exponential,
    "cosine": cosine,
    "onecycle": onecycle,
    "warmup_cosine": warmup_cosine,
    "cosine_restarts": cosine_restarts,
    "polynomial": polynomial,
    "trapezoid": trapezoid,
    "plateau": plateau,
}
"""Functions of the number of training steps and of keywords, which return a schedule."""
