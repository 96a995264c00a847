"""The protocol of layers, a base class for layers without parameters, and the layer that chains others."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import jaxtyping
from jax.typing import ArrayLike
from jaxtyping import Shaped

from research.ops.dropout import check_keys
from research.ops.precision import as_float
from research.utils.plain import plain

Array = jax.Array
Key = jaxtyping.Key[Array, "..."]
"""Typed keys, as `jax.random.key` makes them: one key for `init`, and one per example `[N]` for `apply`."""

Shape = tuple[int, ...]
Params = dict[str, Any]
"""The parameters of a layer: a dict of arrays by name, nested for a layer that holds other layers."""

State = dict[str, Any]
"""The state of a layer, such as running averages: a dict like `Params`, which training does not optimise."""


@runtime_checkable
class Layer(Protocol):
    """A description of a layer, which holds hyper-parameters but no array."""

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        """Return the initial parameters and the initial state.

        Args:
            key: a single typed key, from which the parameters are drawn.
            in_shape: the shape of the input, `[N, H, W, C]` or `[N, D]`. `N` may be any number.

        Raises:
            ValueError: the layer does not fit the input.
        """
        ...

    def apply(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        """Return the output and the new state.

        Args:
            params: the parameters, as `init` returns them.
            state: the state, as `init` returns it.
            x: the input `[N, H, W, C]` or `[N, D]`. An array of NumPy becomes one of JAX, so float64 becomes
                float32 unless x64 is on.
            train: whether the network is being trained.
            key: the typed keys `[N]`, one per example. Only layers that draw random numbers in training need
                them.

        Raises:
            TypeError: `x` holds integers, and the layer computes means, scaled numbers or dot products.
        """
        ...


class ParameterFree(ABC):
    """A base class for layers that have neither parameters nor state."""

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        """Return no parameters and no state, after checking that the layer fits the input."""
        out_shape(self, {}, {}, in_shape)
        return {}, {}

    @abstractmethod
    def apply(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        """Return the output and an empty state."""


@runtime_checkable
class Container(Layer, Protocol):
    """A layer that holds named layers, and whose `trace` also returns their outputs."""

    def trace(
        self, params: Params, state: State, x: Array, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State, dict[str, Array]]:
        """Return the output, the new state, and the output of every inner layer by its path."""
        ...


def fold_in_keys(keys: Key | None, index: int) -> Key | None:
    """Return the keys `[N]` with `index` folded into each of them, or `None` if `keys` is `None`."""
    return None if keys is None else jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, index)


def with_keys(x: ArrayLike, keys: Key | None) -> Array:
    """Return `x` as an array of JAX, after checking that `keys` are one key per example if they are given."""
    x = jnp.asarray(x)
    if keys is not None:
        check_keys(keys, x.shape[0])
    return x


def by_path(tree: Any) -> dict[str, Any]:
    """Return the leaves of a tree by their path, in the order of the tree.

    Example:
        >>> list(by_path({"conv": {"kernel": jnp.ones(1)}}))
        ['conv/kernel']
    """
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def out_shape(layer: Layer, params: Params, state: State, in_shape: Shape, dtype: Any = None) -> Shape:
    """Return the shape of the output of `layer`, which is traced but not computed.

    Args:
        layer: the layer.
        params: its parameters, which may be abstract.
        state: its state, which may be abstract.
        in_shape: the shape of the input.
        dtype: the dtype of the input, float32 if not given.

    Raises:
        ValueError: the output has no elements although the input has some, or the layer does not fit.
    """
    in_shape = plain(in_shape)
    x = jax.ShapeDtypeStruct(in_shape, dtype or jnp.float32)
    shape = _evaluate.eval_shape(layer, params, state, x).shape
    if 0 in shape and 0 not in in_shape:
        raise ValueError(f"{layer} leaves {list(shape)} of x {list(in_shape)}")
    return shape


def abstract_init(layer: Layer, in_shape: Shape) -> tuple[Params, State]:
    """Return what `layer.init` returns, as `jax.ShapeDtypeStruct` instead of arrays. Nothing is computed."""
    return _init.eval_shape(layer, plain(in_shape))


# The next two functions are never compiled. They are wrapped in jit because JAX then caches what it has
# traced, and each layer is traced many times.


@partial(jax.jit, static_argnums=(0, 1))
def _init(layer: Layer, in_shape: Shape) -> tuple[Params, State]:
    return layer.init(jax.random.key(0), in_shape)


@partial(jax.jit, static_argnums=0)
def _evaluate(layer: Layer, params: Params, state: State, x: Array) -> Array:
    return layer.apply(params, state, x, train=False)[0]


def cast(param: Shaped[ArrayLike, "*shape"], x: Shaped[Array, "..."]) -> Shaped[Array, "*shape"]:
    """Return `param` in the dtype of `x`, which is the dtype in which layers compute.

    Raises:
        TypeError: `x` does not hold floating point numbers. A kernel that is cast to integers would be all
            zeros.
    """
    return jnp.asarray(param, as_float(x).dtype)


def make_hashable(layer: Any) -> None:
    """Replace the lists in the fields of a layer by tuples, and numbers of NumPy by those of Python.

    A layer calls it in `__post_init__`, since a compiled function can depend on hashable values only.
    """
    for field in fields(layer):
        object.__setattr__(layer, field.name, plain(getattr(layer, field.name)))


def trace_layer(
    name: str, layer: Layer, params: Params, state: State, x: Array, *, train: bool, key: Key | None
) -> tuple[State, dict[str, Array]]:
    """Apply one of the layers that a container holds.

    Args:
        name: the name of the layer in the container.
        layer: the layer.
        params: the parameters of the container.
        state: the state of the container.
        x: the input of the layer.
        train: whether the network is being trained.
        key: the typed keys of the layer, one per example.

    Returns:
        The new state of the layer, and a dict of outputs by path. It ends with the output of the layer under
        `name`; before it come the outputs of the layers that this layer holds.
    """
    args = (params.get(name, {}), state.get(name, {}), x)
    if not isinstance(layer, Container):
        y, new_state = layer.apply(*args, train=train, key=key)
        return new_state, {name: y}
    y, new_state, inner = layer.trace(*args, train=train, key=key)
    return new_state, {f"{name}/{path}": value for path, value in inner.items()} | {name: y}


def init_branches(branches: Iterable[tuple[str, Layer]], key: Key, in_shape: Shape) -> tuple[Params, State]:
    """Return the parameters and the state of layers with one input, by their names.

    Args:
        branches: the layers with their names.
        key: a typed key.
        in_shape: the shape of the input of every layer.
    """
    all_params: Params = {}
    all_state: State = {}
    for index, (name, layer) in enumerate(branches):
        params, state = layer.init(jax.random.fold_in(key, index), in_shape)
        all_params |= {name: params} if params else {}
        all_state |= {name: state} if state else {}
    return all_params, all_state


def trace_branches(
    branches: Iterable[tuple[str, Layer]],
    params: Params,
    state: State,
    x: Array,
    *,
    train: bool,
    key: Key | None,
) -> tuple[State, dict[str, Array]]:
    """Apply layers with one input; return their new state, and the outputs of the layers in them by path.

    Args:
        branches: the layers with their names.
        params: the parameters of the container.
        state: the state of the container.
        x: the input of every layer.
        train: whether the network is being trained.
        key: the typed keys of the container, one per example.
    """
    new_state: State = {}
    activations: dict[str, Array] = {}
    for index, (name, layer) in enumerate(branches):
        layer_state, traced = trace_layer(
            name, layer, params, state, x, train=train, key=fold_in_keys(key, index)
        )
        activations |= traced
        new_state |= {name: layer_state} if layer_state else {}
    return new_state, activations


@dataclass(frozen=True)
class Sequential:
    r"""Apply layers one after the other.

    $$
    y = f_n(\dots f_2(f_1(x)))
    $$

    Args:
        layers: the pairs of a unique name and a layer. Parameters and state are dicts with these names; a
            layer without parameters or state has no entry.

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

    layers: Sequence[tuple[str, Layer]]

    def __post_init__(self) -> None:
        make_hashable(self)
        names = [name for name, _ in self.layers]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"layer names must be unique, repeated: {', '.join(repeated)}")

    def init(self, key: Key, in_shape: Shape) -> tuple[Params, State]:
        """Return the parameters and the state of every layer by name.

        The key of each layer is `fold_in(key, position)`.

        Raises:
            ValueError: a layer does not fit its input. The message begins with the name of the layer.
        """
        all_params: Params = {}
        all_state: State = {}
        shape = in_shape
        for index, (name, layer) in enumerate(self.layers):
            try:
                params, state = layer.init(jax.random.fold_in(key, index), shape)
                shape = out_shape(layer, params, state, shape)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
            all_params |= {name: params} if params else {}
            all_state |= {name: state} if state else {}
        return all_params, all_state

    def trace(
        self, params: Params, state: State, x: ArrayLike, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State, dict[str, Array]]:
        """Return what `apply` returns, and the output of every layer by its path.

        The path of a layer inside a layer is `block1/conv`. The outputs are in the order in which the layers
        run. Under jit, outputs that are not used cost nothing.
        """
        x = with_keys(x, key)
        new_state: State = {}
        activations: dict[str, Array] = {}
        for index, (name, layer) in enumerate(self.layers):
            layer_state, traced = trace_layer(
                name, layer, params, state, x, train=train, key=fold_in_keys(key, index)
            )
            x = traced[name]
            activations |= traced
            new_state |= {name: layer_state} if layer_state else {}
        return x, new_state, activations

    def apply(
        self, params: Params, state: State, x: ArrayLike, *, train: bool, key: Key | None = None
    ) -> tuple[Array, State]:
        """Return the output of the last layer and the new state of all layers."""
        y, new_state, _ = self.trace(params, state, x, train=train, key=key)
        return y, new_state
