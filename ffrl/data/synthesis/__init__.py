"""Sequences that are made: which transformations act when, and the states that they pass through."""
