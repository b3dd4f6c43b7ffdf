"""Sparse transformation flow: which transformations act in image sequences, when, and how fast.

Example:
    >>> import stf
    >>> model = stf.load("runs/demo")          # doctest: +SKIP
    >>> speeds = model.infer(frames)           # doctest: +SKIP
"""

from __future__ import annotations

__all__ = ["FlowFactorizedVAE", "SparseTransformationFlow", "__version__", "load"]
__version__ = "0.1.0"


def __getattr__(name: str):
    """Import the parts that need torch only when they are asked for."""
    if name == "load":
        from stf.run import load

        return load
    if name == "SparseTransformationFlow":
        from stf.models.sparse_flow import SparseTransformationFlow

        return SparseTransformationFlow
    if name == "FlowFactorizedVAE":
        from ffrl.models.flow_vae import FlowFactorizedVAE

        return FlowFactorizedVAE
    raise AttributeError(f"module 'stf' has no attribute {name!r}")
