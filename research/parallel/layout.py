"""A mesh of devices, and the shardings of data and training state over it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

RUN_AXIS = "run"
DATA_AXIS = "data"
MODEL_AXIS = "model"

WIDE = 64
"""The smallest number of features of a convolution that is split over the model axis."""


@dataclass(frozen=True)
class Layout:
    """A mesh with the axes run, data and model, and the shardings of arrays over it.

    Args:
        mesh: the mesh of devices.
    """

    mesh: Mesh

    @classmethod
    def of(
        cls,
        num_devices: int | None = None,
        *,
        run: int = 1,
        data: int | None = None,
        model: int = 1,
        devices: Sequence[Any] | None = None,
    ) -> "Layout":
        """Return the layout of the first devices as a mesh of `run` by `data` by `model`.

        Args:
            num_devices: number of devices; `None` is the product of the axes, or all devices if `data` is
                `None`.
            run: size of the axis over which the runs of one program are split.
            data: size of the axis over which a batch is split; `None` is `num_devices / (run * model)`.
            model: size of the axis over which kernels are split.
            devices: the devices of which the first are taken; by default all devices of JAX.

        Raises:
            ValueError: there are too few devices, or their number is not the product of the axes.

        Example:
            >>> dict(Layout.of(1).mesh.shape)
            {'run': 1, 'data': 1, 'model': 1}
        """
        devices = jax.devices() if devices is None else devices
        if num_devices is None:
            num_devices = len(devices) if data is None else run * data * model
        if num_devices > len(devices):
            raise ValueError(f"num_devices={num_devices} is not allowed; there are {len(devices)} devices")
        sizes = (run, num_devices // (run * model) if data is None else data, model)
        if math.prod(sizes) != num_devices:
            given = f"{'data' if data is None else data} by model={model}"
            given = given if run == 1 else f"run={run} by {given}"
            raise ValueError(f"mesh={given} is not allowed; give axes whose product is {num_devices} devices")
        chosen = np.array(devices[:num_devices]).reshape(sizes)
        return cls(Mesh(chosen, (RUN_AXIS, DATA_AXIS, MODEL_AXIS), axis_types=(AxisType.Auto,) * 3))

    @property
    def num_shards(self) -> int:
        """Number of parts into which a batch is split."""
        return self.mesh.shape[DATA_AXIS]

    @property
    def num_run_groups(self) -> int:
        """Number of groups of devices over which the runs of one program are split."""
        return self.mesh.shape[RUN_AXIS]

    @property
    def by_image(self) -> NamedSharding:
        """Sharding that splits a batch of an evaluation over all devices."""
        return NamedSharding(self.mesh, P((RUN_AXIS, DATA_AXIS)))

    def sharding(self, *axes: str | None) -> NamedSharding:
        """Return the sharding that splits dimension i over `axes[i]`."""
        return NamedSharding(self.mesh, P(*axes))

    @property
    def everywhere(self) -> NamedSharding:
        """Sharding of an array of which every device holds a copy."""
        return self.sharding()

    def shardings_of(self, state: Any) -> Any:
        """Return the shardings of a training state: kernels are split by output channel over the model axis.

        A kernel is split if the size of the axis divides its features, and if it belongs to a dense layer or
        has at least `WIDE` features. The optimizer's arrays for a kernel are split like the kernel.
        """
        size = self.mesh.shape[MODEL_AXIS]

        def sharding_of(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
            is_kernel = path[-1] == jax.tree_util.DictKey("kernel")
            if size == 1 or not is_kernel or leaf.shape[-1] % size:
                return self.everywhere
            if leaf.ndim > 2 and leaf.shape[-1] < WIDE:
                return self.everywhere
            return self.sharding(*(None,) * (leaf.ndim - 1), MODEL_AXIS)

        return jax.tree_util.tree_map_with_path(sharding_of, state)

    def local_columns(self, batch_size: int) -> slice:
        """Return the part of each batch that the devices of this process take."""
        by_device = self.sharding(DATA_AXIS).addressable_devices_indices_map((batch_size,)).values()
        parts = [index[0].indices(batch_size) for index in by_device if index]
        return slice(min(start for start, *_ in parts), max(stop for _, stop, _ in parts))

    def put_columns(self, part: np.ndarray, batch_size: int) -> jax.Array:
        """Return batches `[num_steps, B, ...]`, split by column; this process has its `local_columns`."""
        first = self.local_columns(batch_size).start

        def columns(index: tuple[slice, ...]) -> np.ndarray:
            start, stop, _ = index[1].indices(batch_size)
            return part[index[0], start - first : stop - first]

        shape = (len(part), batch_size, *part.shape[2:])
        return jax.make_array_from_callback(
            shape,
            self.sharding(None, DATA_AXIS),
            columns,  # pyright: ignore[reportArgumentType]
        )

    def put_batch(self, array: np.ndarray) -> jax.Array:
        """Return a batch `[B, ...]` of an evaluation, split over the devices."""
        return jax.make_array_from_callback(array.shape, self.by_image, lambda i: array[i])

    def replicate(self, tree: Any) -> Any:
        """Return the arrays of `tree` with a copy on every device. All processes must call this function."""
        return jax.jit(partial(jax.tree.map, lambda leaf: leaf), out_shardings=self.everywhere)(tree)
