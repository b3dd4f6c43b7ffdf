"""Measures of a model, one concept per file."""
