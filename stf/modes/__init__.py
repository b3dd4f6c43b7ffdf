"""Modes beside the unsupervised and the weak one: every file here is one, by its ``MODE``."""
