"""Changes of gradients and parameters that every optimizer can be combined with."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from research.training.optimizers.chain import is_kernel


def regularize(
    optimizer: optax.GradientTransformation,
    *,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    clip_agc: float | None = None,
    gradient_noise: float = 0.0,
    l1: float = 0.0,
    max_norm: float | None = None,
) -> optax.GradientTransformation:
    r"""Return an optimizer whose gradients and new parameters are changed.

    With the gradient $g_t$ and the kernels $\theta_{t-1}$, the optimizer is given

    $$
    h_t = \mathrm{clip}(g_t) + \sqrt{\eta / t^{0.55}}\, n_t + \lambda_1 \operatorname{sign}(\theta_{t-1}),
    \qquad n_t \sim \mathcal{N}(0, 1)
    $$

    where clip limits each number, then the norm, then each norm relative to the parameters. With `l1` and a
    `weight_decay` the penalty is that of an elastic net.

    Args:
        optimizer: the optimizer.
        clip_norm: largest global norm of the gradients.
        clip_value: largest magnitude of each number of the gradients.
        clip_agc: largest norm of the gradient of each unit, as a multiple of the norm of its parameters.
        gradient_noise: the variance $\eta$ of the noise in the first step.
        l1: the factor $\lambda_1$, which is zero for all parameters but kernels.
        max_norm: largest norm of the part of a new kernel that belongs to one output channel.

    Example:
        >>> params = {"kernel": jnp.array([3.0, -3.0])}
        >>> optimizer = regularize(optax.sgd(1.0), l1=0.5)
        >>> updates, _ = optimizer.update({"kernel": jnp.zeros(2)}, optimizer.init(params), params)
        >>> updates["kernel"].tolist()
        [-0.5, 0.5]

    Source: for `clip_agc`, Brock et al. (2021), High-performance large-scale image recognition without
    normalization, section 4.1; for `gradient_noise`, Neelakantan et al. (2015), Adding gradient noise
    improves learning for very deep networks, section 3; for `max_norm`, Srivastava et al. (2014), Dropout,
    section 5.1.
    """
    parts = [
        optax.clip(clip_value) if clip_value else None,
        optax.clip_by_global_norm(clip_norm) if clip_norm else None,
        optax.adaptive_grad_clip(clip_agc) if clip_agc else None,
        optax.add_noise(gradient_noise, 0.55, key=0) if gradient_noise else None,
        _add_signs(l1) if l1 else None,
        optimizer,
        _limit_norms(max_norm) if max_norm else None,
    ]
    return optax.chain(*(part for part in parts if part))


def sharpness_aware(
    optimizer: optax.GradientTransformation, rho: float
) -> optax.GradientTransformationExtraArgs:
    r"""Return an optimizer that is given the gradient of the same batch at the worst parameters nearby.

    With the gradient $g$ at the parameters $\theta_{t-1}$, that is the gradient at
    $\theta_{t-1} + \rho\, g / \|g\|$. So a step computes two gradients, and takes about twice as long.

    Args:
        optimizer: the optimizer.
        rho: the distance $\rho$.

    Returns:
        The optimizer, whose `update` needs `grad_fn(params, 0)`, which returns the gradients at `params`.

    Source: Foret et al. (2021), Sharpness-aware minimization for efficiently improving generalization,
    algorithm 1.
    """
    ascent = optax.chain(optax.contrib.normalize(), optax.sgd(rho))
    return optax.contrib.sam(optimizer, ascent, sync_period=2, opaque_mode=True)


def set_noise_key(opt_state: Any, key: jax.Array) -> Any:
    """Return the state of an optimizer with `key` as the typed key of its gradient noise, if it has any."""

    def is_noise(part: Any) -> bool:
        return isinstance(part, optax.AddNoiseState)

    return jax.tree.map(
        lambda part: part._replace(rng_key=key) if is_noise(part) else part, opt_state, is_leaf=is_noise
    )


def _add_signs(l1: float) -> optax.GradientTransformation:
    def change(grads: Any, params: Any) -> Any:
        return jax.tree.map(
            lambda g, p, kernel: g + l1 * jnp.sign(p) if kernel else g, grads, params, is_kernel(params)
        )

    return optax.stateless(change)


def _limit_norms(max_norm: float) -> optax.GradientTransformation:
    def limit(update: jax.Array, param: jax.Array, kernel: bool) -> jax.Array:
        if not kernel:
            return update
        new = param + update
        norms = jnp.sqrt(jnp.square(new).sum(range(new.ndim - 1), keepdims=True))
        return jnp.where(norms > max_norm, new * (max_norm / norms) - param, update)

    def change(updates: Any, params: Any) -> Any:
        return jax.tree.map(limit, updates, params, is_kernel(params))

    return optax.stateless(change)
