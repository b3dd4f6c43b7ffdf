"""Sprites: characters that walk, cast a spell and slash."""

from __future__ import annotations

from ffrl.data.catalogue import DataSet

NAMES = tuple(
    f"{action}-{facing}" for action in ("walk", "spellcast", "slash") for facing in ("front", "left", "right")
)
DATA_SET = DataSet("ffrl.data.sprites.sequences:SpriteSequences", (3, 64, 64), NAMES, 7)
