"""Moving MNIST: digits that go right, left, down and up, and bounce."""

from __future__ import annotations

from ffrl.config import DataConfig
from ffrl.data.catalogue import DataSet

NAMES = ("right", "left", "down", "up")


def transformations(config: DataConfig) -> tuple[str, ...]:
    """Those of every digit, which are its own where there are several.

    Example:
        >>> transformations(DataConfig(digits=2))[3:5]
        ('1-up', '2-right')
    """
    if config.digits == 1:
        return NAMES
    return tuple(f"{digit + 1}-{name}" for digit in range(config.digits) for name in NAMES)


DATA_SET = DataSet(
    "ffrl.data.digits.moving_mnist:MovingMnistSequences", (1, 64, 64), transformations, 8, "bernoulli", downloads=True
)
