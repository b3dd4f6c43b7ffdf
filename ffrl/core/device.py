"""Where and how to compute: device, autocast, deterministic kernels, and a record of the environment."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import metadata
from typing import Any

import numpy
import torch
from torch import Tensor

from ffrl.core.device_name import DEVICES
from ffrl.core.errors import UserError
from ffrl.core.files import PACKAGE

NO_FLOAT64 = frozenset({"mps"})
"""Types of devices that have no float64."""


def resolve_device(name: str = "auto") -> torch.device:
    """Return the device called ``name``; ``auto`` is CUDA when there is one, else the CPU.

    Of several processes that ``torchrun`` has started on a machine, each has a CUDA device of its own.

    Raises:
        UserError: there is no such device.

    Example:
        >>> resolve_device("cpu")
        device(type='cpu')
    """
    DEVICES.require("device", name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    kind, _, index = name.partition(":")
    backend = {"cuda": torch.cuda, "mps": torch.backends.mps}.get(kind)
    if backend is not None and not backend.is_available():
        raise UserError(f"device: found {name!r}, expected 'cpu' or 'auto', because no {kind.upper()} is available")
    if index and int(index) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise UserError(f"device: found {name!r}, expected one from 'cuda:0' to 'cuda:{last}', which there are")
    return indexed(torch.device(name))


def indexed(device: torch.device | str) -> torch.device:
    """Return a device with its number, as tensors on it have it, so that ``cuda`` equals ``cuda:0``.

    Example:
        >>> indexed("cpu")
        device(type='cpu')
    """
    return torch.empty(0, device=device).device


def widest(device: torch.device) -> torch.dtype:
    """Return the widest floating-point type of a device: float64, on MPS float32.

    Example:
        >>> widest(torch.device("cpu")), widest(torch.device("mps"))
        (torch.float64, torch.float32)
    """
    return torch.float32 if device.type in NO_FLOAT64 else torch.float64


def wide(values: Tensor) -> Tensor:
    """Return values in the :func:`widest` type of their device.

    Example:
        >>> wide(torch.ones(1)).dtype
        torch.float64
    """
    return values.to(widest(values.device))


def exact(values: Tensor) -> Tensor:
    """Return values in float64: on their device, or on the CPU where it has none.

    Example:
        >>> exact(torch.ones(1))
        tensor([1.], dtype=torch.float64)
    """
    return (values.cpu() if values.device.type in NO_FLOAT64 else values).double()


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[Any]:
    """Return the context of the model's forward pass: autocast to ``precision``, or nothing for float32."""
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=precision)


@contextmanager
def deterministic(enabled: bool = True) -> Iterator[None]:
    """Allow only deterministic kernels inside the context and restore the previous state after it.

    On CUDA it must be entered before the first matrix product of the process, because cuBLAS reads its workspace
    setting once.

    Example:
        >>> with deterministic():
        ...     torch.are_deterministic_algorithms_enabled()
        True
    """
    if not enabled:
        yield
        return
    cudnn, variable = torch.backends.cudnn, "CUBLAS_WORKSPACE_CONFIG"
    algorithms = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    before = algorithms, cudnn.deterministic, cudnn.benchmark, os.environ.get(variable)
    os.environ.setdefault(variable, ":4096:8")
    torch.use_deterministic_algorithms(True)
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        (mode, warn_only), cudnn.deterministic, cudnn.benchmark, workspace = before
        torch.use_deterministic_algorithms(mode, warn_only=warn_only)
        if workspace is None:
            os.environ.pop(variable, None)


def flush_denormals() -> None:
    """Let the CPU treat denormal numbers as zero, which saves it from computing with them many times slower.

    Second moments of parameters whose gradients vanish decay into that range. The setting is inherited by threads
    started later, so it comes before the first parallel operation.
    """
    torch.set_flush_denormal(True)


def package_version() -> str | None:
    """Return the installed version of this package, None when it runs from a checkout that is not installed."""
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        return None


def environment(device: torch.device) -> dict[str, Any]:
    """Return what ``environment.json`` records of the machine: versions, platform, device and threads."""
    on_cuda = device.type == "cuda"
    return {
        "package": PACKAGE,
        "version": package_version(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if on_cuda else platform.processor() or platform.machine(),
        "device_type": device.type,
        "cuda": torch.version.cuda if on_cuda else None,
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
    }
