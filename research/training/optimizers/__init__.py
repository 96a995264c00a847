"""Optimizers by name: chains of optax transformations, each with its learning rate and weight decay."""

from research.training.optimizers.chain import is_kernel as is_kernel
from research.training.optimizers.make import RATES as RATES
from research.training.optimizers.make import make_optimizer as make_optimizer
from research.training.optimizers.make import set_rates as set_rates
from research.training.optimizers.table import OPTIMIZERS as OPTIMIZERS
