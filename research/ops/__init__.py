"""Operations of a network as pure functions of arrays.

They are convolution, pooling, normalisation, activations and dropout.
"""
