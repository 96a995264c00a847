"""Learning-rate schedules as factors of the peak learning rate.

A schedule is a function of the step that returns a factor in [0, 1]. Steps are counted from 0, so a run of
`num_steps` steps ends with step `num_steps - 1`. With one step, every schedule gives the factor 1. The
learning rate itself is data in the state of the optimizer, so that runs that differ only in it share one
compiled program.
"""

from collections import Counter
from typing import Annotated

import optax

from research.utils.constraints import Between, Fraction, Positive, Rate


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


SCHEDULES = {
    "constant": constant,
    "step": step,
    "exponential": exponential,
    "cosine": cosine,
    "onecycle": onecycle,
    "warmup_cosine": warmup_cosine,
}
"""Functions of the number of training steps and of keywords, which return a schedule."""
