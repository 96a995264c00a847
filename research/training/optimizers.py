"""Optimizers by name: chains of optax transformations, each with its learning rate and weight decay."""

import inspect
from typing import Annotated, Any

import jax
import optax

from research.utils.constraints import NonNegative, Positive, Rate
from research.utils.lookup import lookup

LearningRate = Annotated[float, Positive]
WeightDecay = Annotated[float, NonNegative]
ClipNorm = Annotated[float, Positive] | None
Decay = Annotated[float, Rate]
Epsilon = Annotated[float, Positive]


def sgd(
    schedule: optax.Schedule,
    *,
    learning_rate: LearningRate = 0.1,
    weight_decay: WeightDecay = 0.0,
    clip_norm: ClipNorm = None,
) -> optax.GradientTransformation:
    r"""Return stochastic gradient descent.

    With the gradient $g_t$ of the parameters $\theta_{t-1}$, the learning rate $\alpha$, its factor $s_t$ and
    the weight decay $\lambda$, which is zero for all parameters but kernels:

    $$
    \theta_t = \theta_{t-1} - \alpha s_t (g_t + \lambda \theta_{t-1})
    $$

    Args:
        schedule: function from a step to the factor of the learning rate.
        learning_rate: the largest learning rate.
        weight_decay: factor of the kernels that is added to their gradients.
        clip_norm: largest global norm of the gradients; `None` does not clip them.

    Example:
        >>> import jax.numpy as jnp
        >>> params = {"kernel": jnp.ones(())}
        >>> optimizer = sgd(lambda step: 1.0, learning_rate=0.5)
        >>> updates, _ = optimizer.update({"kernel": jnp.ones(())}, optimizer.init(params), params)
        >>> float(updates["kernel"])
        -0.5

    Source: Robbins & Monro (1951), A stochastic approximation method.
    """
    return _chain(schedule, learning_rate, clip_norm, _decay(weight_decay), optax.identity())


def momentum(
    schedule: optax.Schedule,
    *,
    learning_rate: LearningRate = 0.03,
    weight_decay: WeightDecay = 0.0,
    clip_norm: ClipNorm = None,
    decay: Decay = 0.9,
) -> optax.GradientTransformation:
    r"""Return gradient descent with heavy-ball momentum.

    With the gradient $g_t$, the weight decay $\lambda$ (of kernels), the decay $\mu$, the learning rate
    $\alpha$ and its factor $s_t$; $m_0 = 0$:

    $$
    m_t = \mu m_{t-1} + g_t + \lambda \theta_{t-1}, \qquad
    \theta_t = \theta_{t-1} - \alpha s_t m_t
    $$

    Args:
        schedule: function from a step to the factor of the learning rate.
        learning_rate: the largest learning rate.
        weight_decay: factor of the kernels that is added to their gradients.
        clip_norm: largest global norm of the gradients; `None` does not clip them.
        decay: factor of the previous momentum, in [0, 1).

    Example:
        >>> import jax.numpy as jnp
        >>> params, grads = {"kernel": jnp.ones(())}, {"kernel": jnp.ones(())}
        >>> optimizer = momentum(lambda step: 1.0, learning_rate=0.5)
        >>> _, state = optimizer.update(grads, optimizer.init(params), params)
        >>> round(float(optimizer.update(grads, state, params)[0]["kernel"]), 5)
        -0.95

    Source: Polyak (1964), Some methods of speeding up the convergence of iteration methods.
    """
    return _chain(schedule, learning_rate, clip_norm, _decay(weight_decay), optax.trace(decay))


def nesterov(
    schedule: optax.Schedule,
    *,
    learning_rate: LearningRate = 0.03,
    weight_decay: WeightDecay = 0.0,
    clip_norm: ClipNorm = None,
    decay: Decay = 0.9,
) -> optax.GradientTransformation:
    r"""Return gradient descent with Nesterov momentum.

    With the gradient $g_t$, the weight decay $\lambda$ (of kernels), the decay $\mu$, the learning rate
    $\alpha$ and its factor $s_t$; $m_0 = 0$:

    $$
    h_t = g_t + \lambda \theta_{t-1}, \qquad
    m_t = \mu m_{t-1} + h_t, \qquad
    \theta_t = \theta_{t-1} - \alpha s_t (\mu m_t + h_t)
    $$

    Args:
        schedule: function from a step to the factor of the learning rate.
        learning_rate: the largest learning rate.
        weight_decay: factor of the kernels that is added to their gradients.
        clip_norm: largest global norm of the gradients; `None` does not clip them.
        decay: factor of the previous momentum, in [0, 1).

    Example:
        >>> import jax.numpy as jnp
        >>> params = {"kernel": jnp.ones(())}
        >>> optimizer = nesterov(lambda step: 1.0, learning_rate=0.5)
        >>> updates, _ = optimizer.update({"kernel": jnp.ones(())}, optimizer.init(params), params)
        >>> round(float(updates["kernel"]), 5)
        -0.95

    Source: Sutskever, Martens, Dahl & Hinton (2013), On the importance of initialization and momentum in deep
    learning, section 2.
    """
    return _chain(schedule, learning_rate, clip_norm, _decay(weight_decay), optax.trace(decay, nesterov=True))


def adagrad(
    schedule: optax.Schedule,
    *,
    learning_rate: LearningRate = 0.03,
    weight_decay: WeightDecay = 0.0,
    clip_norm: ClipNorm = None,
    epsilon: Epsilon = 1e-7,
    initial_accumulator: Annotated[float, NonNegative] = 0.0,
) -> optax.GradientTransformation:
    r"""Return AdaGrad, which divides by the root of the sum of all squared gradients.

    With the gradient $g_t$, the weight decay $\lambda$ (of kernels), the learning rate $\alpha$ and its
    factor $s_t$; $v_0$ is the same number for each parameter, which is 0 in the paper:

    $$
    h_t = g_t + \lambda \theta_{t-1}, \qquad
    v_t = v_{t-1} + h_t^2, \qquad
    \theta_t = \theta_{t-1} - \alpha s_t \frac{h_t}{\sqrt{v_t + \epsilon}}
    $$

    Args:
        schedule: function from a step to the factor of the learning rate.
        learning_rate: the largest learning rate.
        weight_decay: factor of the kernels that is added to their gradients.
        clip_norm: largest global norm of the gradients; `None` does not clip them.
        epsilon: number that is added under the root.
        initial_accumulator: the sum of squared gradients $v_0$ before the first step. A positive number makes
            the first updates smaller; optax, PyTorch and Keras differ in its default.

    Example:
        >>> import jax.numpy as jnp
        >>> params = {"kernel": jnp.ones(())}
        >>> optimizer = adagrad(lambda step: 1.0, learning_rate=0.1)
        >>> updates, _ = optimizer.update({"kernel": jnp.full((), 0.5)}, optimizer.init(params), params)
        >>> round(float(updates["kernel"]), 5)
        -0.1

    Source: Duchi, Hazan & Singer (2011), Adaptive subgradient methods for online learning and stochastic
    optimization.
    """
    return _chain(
        schedule,
        learning_rate,
        clip_norm,
        _decay(weight_decay),
        optax.scale_by_rss(initial_accumulator, epsilon),
    )


def rmsprop(
    schedule: optax.Schedule,
    *,
    learning_rate: LearningRate = 0.001,
    weight_decay: WeightDecay = 0.0,
    clip_norm: ClipNorm = None,
    decay: Decay = 0.9,
    epsilon: Epsilon = 1e-8,
) -> optax.GradientTransformation:
    r"""Return RMSProp, which divides by the root of an average of the squared gradients.

    With the gradient $g_t$, the weight decay $\lambda$ (of kernels), the decay $\beta$, the learning rate
    $\alpha$ and its factor $s_t$; $v_0 = 0$:

    $$
    h_t = g_t + \lambda \theta_{t-1}, \qquad
    v_t = \beta v_{t-1} + (1 - \beta) h_t^2, \qquad
    \theta_t = \theta_{t-1} - \alpha s_t \frac{h_t}{\sqrt{v_t + \epsilon}}
    $$

    Args:
        schedule: function from a step to the factor of the learning rate.
        learning_rate: the largest learning rate.
        weight_decay: factor of the kernels that is added to their gradients.
        clip_norm: largest global norm of the gradients; `None` does not clip them.
        decay: factor of the previous average, in [0, 1).
        epsilon: number that is added under the root.

    Example:
        >>> import jax.numpy as jnp
        >>> params = {"kernel": jnp.ones(())}
        >>> optimizer = rmsprop(lambda step: 1.0, learning_rate=1.0, decay=0.75)
        >>> updates, _ = optimizer.update({"kernel": jnp.ones(())}, optimizer.init(params), params)
        >>> round(float(updates["kernel"]), 5)
        -2.0

    Source: Tieleman & Hinton (2012), Neural networks for machine learning, lecture 6.5.
    """
    return _chain(
        schedule, learning_rate, clip_norm, _decay(weight_decay), optax.scale_by_rms(decay, epsilon)
    )


def adam(
    schedule: optax.Schedule,
    *,
    learning_rate: LearningRate = 0.003,
    weight_decay: WeightDecay = 0.0,
    clip_norm: ClipNorm = None,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    epsilon: Epsilon = 1e-8,
) -> optax.GradientTransformation:
    r"""Return Adam, which divides an average of the gradients by the root of an average of their squares.

    With the gradient $g_t$, the weight decay $\lambda$ (of kernels), the decays $\beta_1$ and $\beta_2$, the
    learning rate $\alpha$ and its factor $s_t$; $m_0 = v_0 = 0$:

    $$
    h_t = g_t + \lambda \theta_{t-1}, \qquad
    m_t = \beta_1 m_{t-1} + (1 - \beta_1) h_t, \qquad
    v_t = \beta_2 v_{t-1} + (1 - \beta_2) h_t^2
    $$

    $$
    \theta_t = \theta_{t-1}
        - \alpha s_t \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}
    $$

    Args:
        schedule: function from a step to the factor of the learning rate.
        learning_rate: the largest learning rate.
        weight_decay: factor of the kernels that is added to their gradients.
        clip_norm: largest global norm of the gradients; `None` does not clip them.
        b1: decay of the average of the gradients, in [0, 1).
        b2: decay of the average of the squared gradients, in [0, 1).
        epsilon: number that is added to the root.

    Example:
        >>> import jax.numpy as jnp
        >>> params = {"kernel": jnp.ones(())}
        >>> optimizer = adam(lambda step: 1.0, learning_rate=0.5)
        >>> updates, _ = optimizer.update({"kernel": jnp.full((), 7.0)}, optimizer.init(params), params)
        >>> round(float(updates["kernel"]), 5)
        -0.5

    Source: Kingma & Ba (2015), Adam: a method for stochastic optimization, algorithm 1.
    """
    return _chain(
        schedule, learning_rate, clip_norm, _decay(weight_decay), optax.scale_by_adam(b1, b2, epsilon)
    )


def adamw(
    schedule: optax.Schedule,
    *,
    learning_rate: LearningRate = 0.003,
    weight_decay: WeightDecay = 0.01,
    clip_norm: ClipNorm = None,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    epsilon: Epsilon = 1e-8,
) -> optax.GradientTransformation:
    r"""Return AdamW, which is Adam with a weight decay that the averages of the gradients do not scale.

    With the gradient $g_t$, the weight decay $\lambda$ (of kernels), the decays $\beta_1$ and $\beta_2$, the
    learning rate $\alpha$ and its factor $s_t$; $m_0 = v_0 = 0$:

    $$
    m_t = \beta_1 m_{t-1} + (1 - \beta_1) g_t, \qquad
    v_t = \beta_2 v_{t-1} + (1 - \beta_2) g_t^2
    $$

    $$
    \theta_t = \theta_{t-1}
        - \alpha s_t \left(\frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}
        + \lambda \theta_{t-1}\right)
    $$

    Args:
        schedule: function from a step to the factor of the learning rate.
        learning_rate: the largest learning rate.
        weight_decay: factor of the kernels that is added to their updates.
        clip_norm: largest global norm of the gradients; `None` does not clip them.
        b1: decay of the average of the gradients, in [0, 1).
        b2: decay of the average of the squared gradients, in [0, 1).
        epsilon: number that is added to the root.

    Example:
        >>> import jax.numpy as jnp
        >>> params = {"kernel": jnp.ones(())}
        >>> optimizer = adamw(lambda step: 1.0, learning_rate=0.5, weight_decay=0.1)
        >>> updates, _ = optimizer.update({"kernel": jnp.full((), 7.0)}, optimizer.init(params), params)
        >>> round(float(updates["kernel"]), 5)
        -0.55

    Source: Loshchilov & Hutter (2019), Decoupled weight decay regularization, algorithm 2.
    """
    return _chain(
        schedule, learning_rate, clip_norm, optax.scale_by_adam(b1, b2, epsilon), _decay(weight_decay)
    )


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

RATES = ("learning_rate", "weight_decay")
"""The arguments that `make_optimizer` keeps in the state, so that a compiled program does not fix them."""


def is_kernel(params: Any) -> Any:
    """Return a tree like `params` that is true at the leaves named `kernel`. Only these leaves decay."""
    return jax.tree_util.tree_map_with_path(
        lambda path, _: path[-1] == jax.tree_util.DictKey("kernel"), params
    )


def make_optimizer(
    name: str, schedule: optax.Schedule, **arguments: Any
) -> optax.GradientTransformationExtraArgs:
    """Return the optimizer of that name with its learning rate and weight decay as data of its state.

    Runs that differ in these two rates only share one compiled program.

    Args:
        name: a name of `OPTIMIZERS`.
        schedule: function from a step to the factor of the learning rate, in [0, 1].
        arguments: arguments of the optimizer of that name; those that are left out have its defaults.

    Raises:
        ValueError: the name is unknown.
        TypeError: the optimizer has no argument of that name.

    Example:
        >>> from research.training.schedules import SCHEDULES
        >>> optimizer = make_optimizer("sgd", SCHEDULES["constant"](10))
        >>> state = optimizer.init({"kernel": 1.0})
        >>> {name: round(float(rate), 3) for name, rate in state.hyperparams.items()}
        {'learning_rate': 0.1, 'weight_decay': 0.0}
    """
    function = lookup(OPTIMIZERS, name, "optimizer")
    parameters = inspect.signature(function).parameters
    rates = {rate: arguments.pop(rate, parameters[rate].default) for rate in RATES}

    def with_rates(learning_rate: Any, weight_decay: Any) -> optax.GradientTransformation:
        return function(schedule, learning_rate=learning_rate, weight_decay=weight_decay, **arguments)

    return optax.inject_hyperparams(with_rates)(**rates)


def set_rates(opt_state: Any, *, learning_rate: jax.Array, weight_decay: jax.Array) -> Any:
    """Return the state of an optimizer of `make_optimizer` with other rates, float32 `[]`."""
    return opt_state._replace(hyperparams={"learning_rate": learning_rate, "weight_decay": weight_decay})


def _chain(
    schedule: optax.Schedule,
    learning_rate: Any,
    clip_norm: float | None,
    *parts: optax.GradientTransformation,
) -> optax.GradientTransformation:
    clip = optax.identity() if clip_norm is None else optax.clip_by_global_norm(clip_norm)
    scale = optax.scale_by_learning_rate(learning_rate)
    return optax.chain(clip, *parts, optax.scale_by_schedule(schedule), scale)


def _decay(weight_decay: Any) -> optax.GradientTransformation:
    return optax.add_decayed_weights(weight_decay, mask=is_kernel)
