"""Sequences the models learn from; importing this package imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from ffrl.config import DataConfig
    from ffrl.data.base import SequenceData

__all__ = ["image_shape", "load"]


def load(config: DataConfig, device: torch.device | str = "cpu") -> SequenceData:
    """Return the sequences that ``config`` describes, with batches on ``device``.

    Raises:
        UserError: if files are missing or damaged, or the data set is unknown.

    Example:
        >>> import torch
        >>> from ffrl.config import DataConfig
        >>> data = load(DataConfig(num_steps=8))
        >>> batch = data.single("train", torch.arange(2), torch.tensor([0, 1]))
        >>> batch.frames.shape, batch.activity.shape
        (torch.Size([2, 9, 3, 28, 28]), torch.Size([2, 8, 3]))
    """
    from ffrl.core.errors import require
    from ffrl.core.homes import resolve
    from ffrl.data.catalogue import describe
    from ffrl.data.on_device import on_device

    described = describe(config.name)
    fetched = not config.download or described.downloads
    require(fetched, "data.download", True, f"no such flag: stf data fetch {config.name} says how to get the files")
    return on_device(resolve(described.home)(config, device), device)


def image_shape(config: DataConfig) -> tuple[int, ...]:
    """Return (C, H, W) of the images of a data set, without reading it.

    Raises:
        UserError: if the data set is unknown.

    Example:
        >>> from ffrl.config import DataConfig
        >>> image_shape(DataConfig())
        (3, 28, 28)
    """
    from ffrl.data.catalogue import image_shape

    return image_shape(config)
