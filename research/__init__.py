"""Convolutional networks in JAX: pure layers over explicit parameters, and studies that compare them."""

import os

# XLA on the CPU logs an error per cached program: its cache key holds features ("prefer-no-gather") that
# are preferences of the compiler, which its loader then does not find on the machine
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

__version__ = "0.1.0"
