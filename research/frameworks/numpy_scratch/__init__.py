"""A convolutional network in NumPy alone: each layer with its gradient, and the optimizers."""
