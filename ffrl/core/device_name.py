"""What a device may be called, known without torch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from ffrl.core.errors import require


class DeviceNames:
    """The names of devices; which of them there are, :func:`ffrl.core.device.resolve_device` says."""

    def __iter__(self) -> Iterator[str]:
        return iter(("auto", "cpu", "cuda", "cuda:N", "mps"))

    def require(self, key: str, name: object) -> None:
        """Raise a UserError unless ``name`` is the name of a device.

        Example:
            >>> DEVICES.require("device", "gpu")
            Traceback (most recent call last):
            ...
            ffrl.core.errors.UserError: device: found 'gpu', expected auto, cpu, cuda, cuda:N or mps
        """
        fits = isinstance(name, str) and re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?|mps", name) is not None
        require(fits, key, name, "auto, cpu, cuda, cuda:N or mps")


DEVICES = DeviceNames()
DeviceName = Annotated[str, DEVICES]
"""A string of :data:`DEVICES`, in a configuration."""
