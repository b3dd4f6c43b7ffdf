"""Tensors and checksums on disk."""
