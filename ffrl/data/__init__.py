"""Sequences the models learn from; importing this package imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from ffrl.config import DataConfig
    from ffrl.data.base import SequenceData

__all__ = ["image_shape", "load"]


def load(config: DataConfig, device: torch.device | str = "cpu") -> SequenceData:
    """Return the sequences that ``config`` describes, kept and rendered on ``device``.

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
    return _class(config)(config, device)


def image_shape(config: DataConfig) -> tuple[int, int, int]:
    """Return (C, H, W) of the images of a data set, without reading it.

    Raises:
        UserError: if the data set is unknown.

    Example:
        >>> from ffrl.config import DataConfig
        >>> image_shape(DataConfig())
        (3, 28, 28)
    """
    return _class(config).image_shape


def _class(config: DataConfig) -> type[SequenceData]:
    from ffrl.data.mnist import MnistSequences
    from ffrl.errors import require

    require(config.name == "mnist", "data.name", config.name, "'mnist'")
    return MnistSequences
