"""The commands: one module each, one wrapper around all, and Hydra nowhere else."""

import os

# XLA on the CPU logs an error per cached program: its cache key holds features ("prefer-no-gather") that
# are preferences of the compiler, which its loader then does not find on the machine
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
