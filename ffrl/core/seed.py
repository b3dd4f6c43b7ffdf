"""Counter-based randomness: what step i draws depends only on (seed, stream, i), so no generator state is ever stored.

Streams of the trainer: ``epoch`` (order of the training sequences, one permutation per epoch), ``which`` (the
transformation of each sequence, supervised and weak), ``data`` (all else about the sequences), ``noise`` (the model's
noise), and for validation ``validation-epoch``, ``validation-which``, ``validation-data`` and ``validation-noise``.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import torch
from torch import Tensor

from ffrl.core.errors import require


def hashed_seed(seed: int, stream: str, step: int = 0) -> int:
    """Return the 63-bit SHA-256 hash of ``(seed, stream, step)``.

    Example:
        >>> hashed_seed(0, "noise", 1) == hashed_seed(0, "noise", 1) != hashed_seed(0, "noise", 2)
        True
    """
    digest = hashlib.sha256(f"{seed}/{stream}/{step}".encode(errors="surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(device: torch.device | str, seed: int, stream: str, step: int = 0) -> torch.Generator:
    """Return a fresh generator on ``device`` that depends only on ``(seed, stream, step)``.

    A CPU generator keeps 32 bits of its seed, so among n generators about n^2 / 2^33 pairs draw the same numbers. That
    is harmless for training noise. CPU and CUDA generators with the same seed draw different numbers.

    Example:
        >>> a, b = (torch.rand(2, generator=generator("cpu", 0, "noise", 5)) for _ in range(2))
        >>> bool((a == b).all())
        True
    """
    return torch.Generator(device=device).manual_seed(hashed_seed(seed, stream, step))


@lru_cache(maxsize=16)
def _permutation(size: int, seed: int, stream: str, epoch: int, device: torch.device) -> Tensor:
    return torch.randperm(size, generator=generator("cpu", seed, stream, epoch)).to(device)


def epoch_indices(
    size: int, batch_size: int, step: int, seed: int, device: torch.device | str, stream: str = "epoch"
) -> Tensor:
    """Return the indices ``(batch_size,)`` of the sequences of optimisation step ``step`` (counted from 0).

    Step i takes positions i B .. i B + B - 1 of the concatenated permutations of all epochs. A batch may straddle
    epochs, several of them if there are fewer sequences than B; nothing is dropped, and every epoch covers each of the
    ``size`` sequences exactly once. The order is the same on every device.

    Raises:
        UserError: ``size`` is 0.

    Example:
        >>> sorted(torch.cat([epoch_indices(6, 2, step, 0, "cpu") for step in range(3)]).tolist())
        [0, 1, 2, 3, 4, 5]
    """
    require(size > 0, "data", "no sequences", "at least one")
    device = torch.device(device)
    first, offset = divmod(step * batch_size, size)
    last = (step * batch_size + batch_size - 1) // size
    epochs = [_permutation(size, seed, stream, epoch, device) for epoch in range(first, last + 1)]
    order = epochs[0] if len(epochs) == 1 else torch.cat(epochs)
    return order[offset : offset + batch_size]
