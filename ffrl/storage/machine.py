"""What the machine lets a process have: memory and open files."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

import torch

LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where a container says how much it may have."""


def memory(device: torch.device) -> int | None:
    """Return the bytes that a process can have on a device at most; None where the system does not tell.

    Of a CPU they are what the machine has, or what a container or a limit of the address space leaves of it.

    Example:
        >>> found = memory(torch.device("cpu"))
        >>> found is None or found > 2**20
        True
    """
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    known = [size for size in (_installed(), _limit("RLIMIT_AS"), *map(_container, LIMITS)) if size]
    return min(known, default=None)


def open_files() -> int | None:
    """Return how many files a process may have open; None where there is no limit, or the system does not tell.

    Example:
        >>> found = open_files()
        >>> found is None or found > 2
        True
    """
    return _limit("RLIMIT_NOFILE")


def _limit(name: str) -> int | None:
    try:
        import resource
    except ImportError:  # Windows has no such limits
        return None
    limit = resource.getrlimit(getattr(resource, name))[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _installed() -> int | None:
    if sys.platform == "win32":
        return _installed_on_windows()
    with suppress(AttributeError, OSError, ValueError):  # no such function, or no such name
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _installed_on_windows() -> int | None:
    class Status(ctypes.Structure):
        _fields_ = [("length", ctypes.c_uint32), ("load", ctypes.c_uint32)] + [
            (name, ctypes.c_uint64) for name in ("total", "free", "page", "page_free", "own", "own_free", "more")
        ]

    status = Status(length=ctypes.sizeof(Status))
    windows = getattr(ctypes, "windll", None)
    told = windows is not None and windows.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))
    return int(status.total) if told else None


def _container(path: Path) -> int | None:
    with suppress(OSError, ValueError):  # none, or "max"
        return int(path.read_text())
    return None
