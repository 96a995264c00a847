"""Convolutional networks in JAX: pure layers over explicit parameters, and studies that compare them."""

__version__ = "0.1.0"
