"""One training step on many devices: meshes, and the strategies that wrap the loop of steps."""

from research.parallel.devices import count_cpu_devices, request_cpu_devices
from research.parallel.feed import make_feed
from research.parallel.layout import DATA_AXIS, MODEL_AXIS, RUN_AXIS, Layout
from research.parallel.replicas import compile_replicas
from research.parallel.strategies import EXPLICIT_COLLECTIVES, STRATEGIES, choose

__all__ = [
    "DATA_AXIS",
    "EXPLICIT_COLLECTIVES",
    "MODEL_AXIS",
    "RUN_AXIS",
    "STRATEGIES",
    "Layout",
    "choose",
    "compile_replicas",
    "count_cpu_devices",
    "make_feed",
    "request_cpu_devices",
]
