"""Optimizers by name: chains of optax transformations, each with its learning rate and weight decay."""

from research.training.optimizers.chain import is_kernel as is_kernel
from research.training.optimizers.groups import Group as Group
from research.training.optimizers.groups import group_params as group_params
from research.training.optimizers.groups import matches as matches
from research.training.optimizers.make import RATES as RATES
from research.training.optimizers.make import make_optimizer as make_optimizer
from research.training.optimizers.make import set_learning_rate as set_learning_rate
from research.training.optimizers.make import set_rates as set_rates
from research.training.optimizers.regularize import set_noise_key as set_noise_key
from research.training.optimizers.table import ONLY_SCHEDULE as ONLY_SCHEDULE
from research.training.optimizers.table import OPTIMIZERS as OPTIMIZERS
