"""Layers: frozen dataclasses of hyper-parameters with two pure methods, `init` and `apply`."""

from research.layers.activation import Activation
from research.layers.base import Array, Key, Layer, Params, Sequential, Shape, State
from research.layers.conv import Conv2D, DepthwiseSeparableConv
from research.layers.dense import Dense, Flatten
from research.layers.dropout import Dropout, SpatialDropout, StochasticDepth
from research.layers.initializers import INITIALIZERS
from research.layers.norm import BatchNorm, GroupNorm, LayerNorm
from research.layers.pool import AdaptivePool, AveragePool, GlobalAveragePool, MaxPool
from research.layers.residual import Residual

__all__ = [
    "INITIALIZERS",
    "Activation",
    "AdaptivePool",
    "Array",
    "AveragePool",
    "BatchNorm",
    "Conv2D",
    "Dense",
    "DepthwiseSeparableConv",
    "Dropout",
    "Flatten",
    "GlobalAveragePool",
    "GroupNorm",
    "Key",
    "Layer",
    "LayerNorm",
    "MaxPool",
    "Params",
    "Residual",
    "Sequential",
    "Shape",
    "SpatialDropout",
    "State",
    "StochasticDepth",
]
