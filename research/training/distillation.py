"""Distillation: a network learns to imitate the outputs of another, trained network."""

from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
import optax

from research.layers.base import Layer, Params, State
from research.training.objective import soft_labels, wide
from research.utils.constraints import Between, Positive

TeacherArrays = tuple[()] | tuple[Params, State]
"""The parameters and the state of a teacher; `()` if there is none."""


@dataclass(frozen=True)
class Teacher:
    r"""A trained network whose outputs another network, the student, learns to imitate.

    For an image $x$ of the student, after augmentation and mixing, the teacher sees $a x + b$ in each
    channel, because the two networks may scale pixels differently.

    Args:
        net: the network, whose outputs are logits `[N, K]`.
        scale: the factor $a$ of each channel.
        offset: the number $b$ that is added to each channel.
    """

    net: Layer
    scale: tuple[float, ...]
    offset: tuple[float, ...]

    def logits(self, arrays: TeacherArrays, images: jax.Array) -> jax.Array:
        """Return the logits `[N, K]` for the student's images `[N, H, W, C]`, in the dtype of the images."""
        params, state = arrays or ({}, {})
        scale, offset = (jnp.asarray(value, images.dtype) for value in (self.scale, self.offset))
        return jax.lax.stop_gradient(self.net.apply(params, state, images * scale + offset, train=False)[0])


def teach(teacher: Teacher | None, arrays: TeacherArrays, images: jax.Array) -> tuple[jax.Array, ...]:
    """Return the further arguments of an objective: the teacher's logits, or none without a teacher.

    Args:
        teacher: the teacher, or `None`.
        arrays: its parameters and its state.
        images: the images that the student sees `[N, H, W, C]`.
    """
    return () if teacher is None else (teacher.logits(arrays, images),)


def distillation(
    logits: jax.Array,
    labels: jax.Array,
    teacher_logits: jax.Array,
    *,
    teacher: str | None = None,
    temperature: Annotated[float, Positive] = 4.0,
    weight: Annotated[float, Between(0, 1)] = 0.9,
) -> jax.Array:
    r"""Return the loss of each example by which a network learns from the outputs of another network.

    $$
    \ell = -(1 - \alpha) \sum_k q_k \log p_k
        + \alpha T^2 \sum_k p'_k(T) \log \frac{p'_k(T)}{p_k(T)}, \qquad p(T) = \mathrm{softmax}(z / T)
    $$

    where $p'$ are the probabilities of the teacher. The factor $T^2$ keeps the gradient of the second term
    about as large at every temperature $T$.

    Args:
        logits: the logits `[N, ..., K]`.
        labels: the classes `[N, ...]`, or soft labels `[N, ..., K]`.
        teacher_logits: the logits of the teacher `[N, ..., K]`.
        teacher: folder of the completed run whose network is the teacher; it must be given.
        temperature: number by which the logits of both networks are divided.
        weight: share of the loss that comes from the teacher; the rest is the cross-entropy of the labels.

    Returns:
        The losses `[N]` in nats.

    Example:
        >>> logits = jnp.array([[1.0, 2.0]])
        >>> float(distillation(logits, jnp.array([0]), logits, weight=1.0)[0])
        0.0

    Source: Hinton, Vinyals & Dean (2015), Distilling the knowledge in a neural network, section 2.
    """
    logits, teacher_logits = wide(logits), wide(teacher_logits)
    ours, theirs = (jax.nn.log_softmax(each / temperature) for each in (logits, teacher_logits))
    imitation = temperature**2 * optax.losses.kl_divergence_with_log_targets(ours, theirs)
    entropy = optax.softmax_cross_entropy(logits, soft_labels(labels, logits))
    losses = (1 - weight) * entropy + weight * imitation
    return losses.mean(range(1, losses.ndim)) if losses.ndim > 1 else losses
