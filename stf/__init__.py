"""Sparse transformation flow: which transformations act in image sequences, when, and how fast.

Example:
    >>> import stf
    >>> model = stf.load("runs/demo")          # doctest: +SKIP
    >>> speeds = model.infer(frames)           # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ffrl.models.flow_vae import FlowFactorizedVAE
    from stf import data
    from stf.api import figures, fit
    from stf.models.sparse_flow import SparseTransformationFlow
    from stf.run import Run, evaluate, load

__all__ = [
    "FlowFactorizedVAE",
    "Run",
    "SparseTransformationFlow",
    "__version__",
    "data",
    "evaluate",
    "figures",
    "fit",
    "load",
    "plot",
]
__version__ = "0.2.0"

_HOMES = {
    "FlowFactorizedVAE": "ffrl.models.flow_vae",
    "Run": "stf.run",
    "SparseTransformationFlow": "stf.models.sparse_flow",
    "evaluate": "stf.run",
    "figures": "stf.api",
    "fit": "stf.api",
    "load": "stf.run",
}


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import the parts that need torch only when they are asked for."""
        if name in ("data", "plot"):
            return import_module(f"stf.{name}")
        if name in _HOMES:
            return getattr(import_module(_HOMES[name]), name)
        raise AttributeError(f"module 'stf' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
