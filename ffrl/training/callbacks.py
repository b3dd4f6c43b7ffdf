"""What else is told of a training: TensorBoard, Weights & Biases, or a function of one's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from ffrl.core.errors import UserError
from ffrl.core.files import require_inside

Callback = Callable[[int, dict[str, Any]], None]
"""Called with the step and each entry of ``metrics.jsonl``: numbers by name, or a move of the search for fields."""


def summary_writer() -> Any:
    """Return TensorBoard's ``SummaryWriter`` class, imported only here.

    Raises:
        UserError: the package is missing.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError("tensorboard: found no package 'tensorboard', expected it to be installed") from None
    return SummaryWriter


class TensorBoard:
    """Writes numbers as TensorBoard events to ``run / "tensorboard"``.

    Args:
        run: run folder.
        first: steps already done; events of an earlier attempt at the steps to come are purged.

    Raises:
        UserError: the package is missing, or the folder is a link that leads out of the run.
    """

    def __init__(self, run: Path, first: int = 0) -> None:
        require_inside(run, run / "tensorboard")
        self._board = summary_writer()(str(run / "tensorboard"), purge_step=first + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._board.close()

    def __call__(self, step: int, entry: dict[str, Any]) -> None:
        """Write the numbers of an entry."""
        for key, value in entry.items():
            if isinstance(value, int | float):
                self._board.add_scalar(key, value, step)


class WeightsAndBiases:
    """Logs numbers to Weights & Biases, if its package ``wandb`` is installed.

    Args:
        options: of ``wandb.init``: project, name, mode and so on.

    Raises:
        UserError: the package is missing.
    """

    def __init__(self, **options: Any) -> None:
        try:
            import wandb
        except ImportError:
            raise UserError("wandb: found no package 'wandb', expected it to be installed") from None
        self.run = wandb.init(**options)

    def __call__(self, step: int, entry: dict[str, Any]) -> None:
        """Log the numbers of an entry."""
        numbers = {key: value for key, value in entry.items() if isinstance(value, int | float)}
        if numbers:
            self.run.log(numbers, step=step)
