"""What a layer is, and the layer that chains others."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

Array = jax.Array
Key = jax.Array  # typed PRNG keys, from jax.random.key
Shape = tuple[int, ...]
Params = dict[str, Any]
State = dict[str, Any]


@runtime_checkable
class Layer(Protocol):
    """A value that describes a layer and holds no array.

    ``init`` makes the parameters and the state for inputs of ``in_shape`` ``[N, H, W, C]`` (or ``[N, D]``).
    ``apply`` computes the output and the new state; ``key`` is an array of typed keys ``[N]``, one per
    example, needed only by layers that draw random numbers while training.
    """

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]: ...

    def apply(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]: ...


@runtime_checkable
class Container(Layer, Protocol):
    """A layer of named layers, whose ``trace`` also returns their outputs."""

    def trace(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State, dict[str, Array]]: ...


def fold_in_keys(keys: Key | None, index: int) -> Key | None:
    """Fold ``index`` into each of the keys ``[N]``; ``None`` stays ``None``."""
    return None if keys is None else jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, index)


def by_path(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by their path, in its order.

    Example:
        >>> list(by_path({"conv": {"kernel": jnp.ones(1)}}))
        ['conv/kernel']
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def out_shape(layer: Layer, params: Params, state: State, in_shape: Shape, dtype: Any = None) -> Shape:
    """Shape that ``layer`` returns for an input of ``in_shape``, traced and not computed.

    Raises:
        ValueError: nothing is left of the input.
    """
    x = jax.ShapeDtypeStruct(in_shape, dtype or jnp.float32)
    shape = _evaluate.eval_shape(layer, params, state, x).shape
    if 0 in shape and 0 not in in_shape:
        raise ValueError(f"{layer} leaves {list(shape)} of x {list(in_shape)}")
    return shape


def abstract_init(layer: Layer, in_shape: Shape) -> tuple[Params, State]:
    """``layer.init`` traced and not computed: the leaves are ``jax.ShapeDtypeStruct``."""
    return _init.eval_shape(layer, in_shape)


# never compiled: under jit JAX keeps what it has traced, and each layer is asked many times


@partial(jax.jit, static_argnums=(0, 1))
def _init(layer: Layer, in_shape: Shape) -> tuple[Params, State]:
    return layer.init(jax.random.key(0), in_shape)


@partial(jax.jit, static_argnums=0)
def _evaluate(layer: Layer, params: Params, state: State, x: Array) -> Array:
    return layer.apply(params, state, x, train=False)[0]


def cast(param: Array, x: Array) -> Array:
    """``param`` in the dtype of ``x``, in which layers compute.

    Raises:
        TypeError: ``x`` is not floating point; a kernel cast to integers would be all zeros.
    """
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"layers compute in floating point, x has dtype {x.dtype}")
    return param.astype(x.dtype)


def trace_layer(
    name: str, layer: Layer, params: Params, state: State, x: Array, *, train: bool, key: Key | None
) -> tuple[State, dict[str, Array]]:
    """Apply the child ``name`` of a container that has ``params`` and ``state``.

    Returns:
        The new state of the child, and its output under ``name`` after those of its own children.
    """
    args = (params.get(name, {}), state.get(name, {}), x)
    if not isinstance(layer, Container):
        y, new_state = layer.apply(*args, train=train, key=key)
        return new_state, {name: y}
    y, new_state, inner = layer.trace(*args, train=train, key=key)
    return new_state, {f"{name}/{path}": value for path, value in inner.items()} | {name: y}


@dataclass(frozen=True)
class Sequential:
    """Layers applied one after the other.

    .. math:: y = f_n(\\dots f_2(f_1(x)))

    Args:
        layers: pairs of a unique name and a layer. Parameters and state are dicts under these names;
            layers without parameters or state leave no entry.
        first_index: what the key of the first layer is folded with, above 0 for a part of another Sequential.

    Raises:
        ValueError: two layers share a name.

    Example:
        >>> import jax
        >>> from research.layers import Activation, Dense
        >>> net = Sequential((("hidden", Dense(4)), ("relu", Activation("relu")), ("logits", Dense(2))))
        >>> params, state = net.init(jax.random.key(0), (1, 3))
        >>> sorted(params), params["hidden"]["kernel"].shape
        (['hidden', 'logits'], (3, 4))
    """

    layers: tuple[tuple[str, Layer], ...]
    first_index: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        names = [name for name, _ in self.layers]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"layer names must be unique, repeated: {', '.join(repeated)}")

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        """Parameters and state of every layer, by name; each key is ``fold_in(key, position)``.

        Raises:
            ValueError: a layer does not fit; the message begins with its name.
        """
        all_params: Params = {}
        all_state: State = {}
        shape = in_shape
        for index, (name, layer) in enumerate(self.layers, self.first_index):
            try:
                params, state = layer.init(jax.random.fold_in(key, index), shape)
                shape = out_shape(layer, params, state, shape)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
            all_params |= {name: params} if params else {}
            all_state |= {name: state} if state else {}
        return all_params, all_state

    def trace(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State, dict[str, Array]]:
        """As ``apply``, and the output of every layer by name; jit prunes those that are not used.

        The layers inside a layer follow as ``block1/conv``, in the order in which they run.
        """
        new_state: State = {}
        activations: dict[str, Array] = {}
        for index, (name, layer) in enumerate(self.layers, self.first_index):
            layer_state, traced = trace_layer(
                name, layer, params, state, x, train=train, key=fold_in_keys(key, index)
            )
            x = traced[name]
            activations |= traced
            new_state |= {name: layer_state} if layer_state else {}
        return x, new_state, activations

    def apply(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        """Output of the last layer and the new state of all."""
        y, new_state, _ = self.trace(params, state, x, train=train, key=key)
        return y, new_state
