"""Import of torchvision where its C library does not fit the installed torch."""

from __future__ import annotations

import functools
import importlib
from types import ModuleType

import torch

from ffrl.core.errors import UserError, reason_of

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


@functools.cache
def _operator_library() -> torch.library.Library:
    # Dropping a Library takes its schemas away again, so the cache keeps this one as long as the process lives.
    library = torch.library.Library("torchvision", "DEF")
    for schema in SCHEMAS:
        library.define(schema)
    return library


def import_torchvision() -> ModuleType:
    """Return torchvision with ``datasets``, also where a build of torch without CUDA cannot load its C library.

    Only if the plain import fails because the operator ``torchvision::nms`` is missing, the schemas of the operators
    are defined and the import is tried again. The operators themselves stay unusable; data sets do not need them.

    Raises:
        UserError: if torchvision is not installed or still cannot be imported.

    Example:
        >>> import_torchvision().datasets.MNIST.__name__
        'MNIST'
    """
    try:
        return _import()
    except ModuleNotFoundError as error:
        raise UserError(f"torchvision: found no such package ({error}), expected it to be installed") from error
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise UserError(f"torchvision: found {reason_of(error)}, expected a version that fits torch") from error
    try:
        _operator_library()
        return _import()
    except (ImportError, RuntimeError) as error:
        raise UserError(f"torchvision: found {reason_of(error)}, expected a version that fits torch") from error


def _import() -> ModuleType:
    importlib.import_module("torchvision.datasets")
    return importlib.import_module("torchvision")
