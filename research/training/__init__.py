"""State, objective, optimizers, the training step and the loop around it."""
