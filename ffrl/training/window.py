"""Sums of the loss terms since the last log, kept on the device and read only when logging."""

from __future__ import annotations

import torch
from torch import Tensor

from ffrl.core.device import wide, widest

_SEPARATOR = ","


class Window:
    """Accumulates named scalars over the steps that were taken, and counts those that were skipped.

    Example:
        >>> window = Window(torch.device("cpu"))
        >>> for value, finite in ((1.0, True), (3.0, True), (float("nan"), False)):
        ...     window.add({"loss": torch.tensor(value)}, torch.tensor(finite))
        >>> window.means(), window.counts()
        ({'loss': 2.0}, (1, 1))
    """

    def __init__(self, device: torch.device) -> None:
        self._sums: dict[tuple[str, ...], Tensor] = {}
        self._device = device
        self._skipped = torch.zeros((), dtype=torch.int64, device=device)
        self._streak = torch.zeros((), dtype=torch.int64, device=device)

    @torch.no_grad()
    def add(self, terms: dict[str, Tensor], finite: Tensor) -> None:
        """Add one step: its terms where ``finite`` (0-dim bool) holds, else one more skipped step."""
        names = tuple(terms)
        values = torch.stack([wide(value.detach()) for value in (*terms.values(), finite)])
        values = torch.where(finite, values, torch.zeros_like(values))
        self._sums[names] = self._sums[names] + values if names in self._sums else values
        skipped = (~finite).to(torch.int64)
        self._skipped = self._skipped + skipped
        self._streak = (self._streak + 1) * skipped

    def means(self) -> dict[str, float]:
        """Return each term's mean over the steps it was part of, and forget the sums. Waits for the device."""
        totals: dict[str, float] = {}
        counts: dict[str, float] = {}
        for names, sums in self._sums.items():
            *values, count = sums.tolist()
            for name, value in zip(names, values, strict=True):
                totals[name] = totals.get(name, 0.0) + value
                counts[name] = counts.get(name, 0.0) + count
        self._sums.clear()
        return {name: total / counts[name] for name, total in totals.items() if counts[name] > 0}

    def counts(self) -> tuple[int, int]:
        """Return how many steps of the run were skipped, and how many in a row until now. Waits for the device."""
        skipped, streak = torch.stack([self._skipped, self._streak]).tolist()
        return int(skipped), int(streak)

    def tensors(self) -> dict[str, Tensor]:
        """Return the state as named tensors, for a checkpoint."""
        sums = {f"window/{_SEPARATOR.join(names)}": value for names, value in self._sums.items()}
        return {"skipped": self._skipped, "streak": self._streak, **sums}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over the state of :meth:`tensors`; other names are ignored.

        Raises:
            KeyError: one is missing.
            ValueError: one is of another shape or type.
        """
        for name in ("skipped", "streak"):
            _require(name, tensors[name], self._skipped)
        self._skipped, self._streak = (tensors[name].to(self._device) for name in ("skipped", "streak"))
        for key, value in tensors.items():
            if key.startswith("window/"):
                names = tuple(key.removeprefix("window/").split(_SEPARATOR))
                _require(key, value, value.new_zeros(len(names) + 1).double())
                self._sums[names] = value.to(self._device, widest(self._device))


def _require(name: str, found: Tensor, expected: Tensor) -> None:
    if found.shape != expected.shape or found.is_floating_point() != expected.is_floating_point():
        raise ValueError(f"{name!r} of shape {tuple(found.shape)}")
