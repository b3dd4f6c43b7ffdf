"""Sequences that walk through a grid of factors."""
