"""Sequences of sprites."""
