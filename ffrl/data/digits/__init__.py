"""Sequences of MNIST digits."""
