"""A published grid of pictures in a folder, or one in its layout that was rendered."""

from __future__ import annotations

from ffrl.config import DataConfig
from ffrl.data.grids.factors import Factors
from ffrl.data.grids.made import grid_of, made
from ffrl.data.grids.picture_folder import picture_source
from ffrl.data.grids.sequences import StoredSequences


class PublishedSequences(StoredSequences):
    """Sequences of the pictures in ``config.root``; a grid that ``stf data render`` made says so in its title.

    Attributes:
        labels: name of the file of labels.
        columns: of the factors that the transformations move.

    Args:
        config: whose ``root`` is the folder.
        factors: the published grid.
    """

    labels: str
    columns: tuple[int, ...]
    unit_steps: tuple[str, ...]

    def __init__(self, config: DataConfig, factors: Factors) -> None:
        factors = grid_of(config, factors)
        source = picture_source(config, self.title, self.labels, factors)
        if made(config.root) is not None:
            self.title = f"rendered {self.title}"
            self.unit_steps = tuple(f"the next of {factors.sizes[column]} values" for column in self.columns)
        super().__init__(config, factors, self.columns, source)
