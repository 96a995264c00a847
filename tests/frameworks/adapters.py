"""Frameworks that do not do what they should."""

from research.frameworks.numpy_adapter import NumPy


class WrongGradients(NumPy):
    def gradients(self, images, labels):
        return {name: 1.001 * gradient for name, gradient in super().gradients(images, labels).items()}


class WrongUpdates(NumPy):
    def step(self, images, labels):
        super().step(images, labels)
        return super().step(images, labels)


class WrongShapes(NumPy):
    def gradients(self, images, labels):
        return {name: gradient.T for name, gradient in super().gradients(images, labels).items()}


class NotANumber(NumPy):
    def gradients(self, images, labels):
        return {name: float("nan") * gradient for name, gradient in super().gradients(images, labels).items()}


class Crashes(NumPy):
    def train(self, images, labels, order):
        import os

        os.abort()
