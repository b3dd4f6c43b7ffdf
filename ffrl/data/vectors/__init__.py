"""Sequences of vectors: numbers measured at each instant, from memory and from files."""
