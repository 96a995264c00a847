"""Training on many devices: meshes, and the strategies that compile the loop of training steps."""

from research.parallel.devices import count_cpu_devices, request_cpu_devices
from research.parallel.feed import make_feed
from research.parallel.layout import DATA_AXIS, Layout
from research.parallel.stacked import compile_stacked
from research.parallel.strategies import EXPLICIT_COLLECTIVES, STRATEGIES, default_strategy

__all__ = [
    "DATA_AXIS",
    "EXPLICIT_COLLECTIVES",
    "STRATEGIES",
    "Layout",
    "compile_stacked",
    "count_cpu_devices",
    "default_strategy",
    "make_feed",
    "request_cpu_devices",
]
