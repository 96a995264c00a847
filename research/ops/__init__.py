"""Array in, array out: convolution, pooling, normalisation, activations and dropout as pure functions."""
