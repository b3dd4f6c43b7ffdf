"""Sequences of sprites: which frame of which character is shown when, and characters that are never seen."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sprite_tools import COLUMNS, ROWS, coded_sheets
from torch import Tensor

from ffrl import data as ffrl_data
from ffrl.config import DataConfig
from ffrl.core.errors import UserError
from ffrl.data.sprites.sequences import SpriteSequences

SHEETS = (6, 1, 6, 2, 6, 6)
"""Variants of body, eyes, bottomwear, shoes, topwear and hair in the sheets of the tests."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return coded_sheets(tmp_path_factory)


@pytest.fixture(scope="module")
def data(root: Path) -> SpriteSequences:
    return ffrl_data.load(DataConfig(name="sprites", root=root, num_steps=7))


def configured(data: SpriteSequences, **changes: object) -> SpriteSequences:
    """The same data, without reading the sheets again, under another configuration."""
    result = copy(data)
    result.config = replace(data.config, **changes)
    result.num_steps = result.config.num_steps
    return result


def decoded(frames: Tensor) -> Tensor:
    """Variant, row and column that every layer shows, (..., 3, 64, 64) -> (..., L, 3), from the blocks' colours."""
    blocks = torch.stack([frames[..., 9 * layer + 1, 25 + layer] for layer in range(6)], dim=-2) * 255
    codes = blocks / torch.tensor([20, 10, 15]) - torch.tensor([1, 0, 0])
    assert torch.allclose(codes, codes.round(), atol=1e-4)
    return codes.round().long()


def shown(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of the cells, the same for every layer."""
    codes = decoded(frames)
    assert (codes[..., 1:] == codes[..., :1, 1:]).all()
    return codes[..., 0, 1], codes[..., 0, 2]


def cycle(which: int) -> tuple[int, ...]:
    """Columns of one cycle; the slash ends as it begins."""
    columns = COLUMNS[which // 3]
    return columns[:-1] if columns[-1] == columns[0] else columns


def test_description(data: SpriteSequences) -> None:
    assert (data.name, data.title, data.num_steps, data.graded) == ("sprites", "LPC Sprites", 7, False)
    assert data.image_shape == ffrl_data.image_shape(DataConfig(name="sprites")) == (3, 64, 64)
    assert data.transformations[1] == "walk-left" and data.unit_steps[1] == "one frame of walk, left"
    assert data.transformations[8] == "slash-right" and data.unit_steps[8] == "one frame of slash, right"
    assert len(data.transformations) == len(data.unit_steps) == 9


def test_no_folder() -> None:
    message = r"^data.root: found None, expected the folder of the LPC sprite sheets \(body, .*stf data fetch sprites"
    with pytest.raises(UserError, match=message):
        SpriteSequences(DataConfig(name="sprites"))


def test_characters_are_all_combinations_and_held_out_ones_are_never_seen(data: SpriteSequences) -> None:
    assert (data.size("train"), data.size("validation")) == (2073, 519)  # 80 % and 20 % of 6 x 1 x 6 x 2 x 6 x 6
    seen, held = (data.characters(split, torch.arange(data.size(split))) for split in ("train", "validation"))
    assert {*map(tuple, seen.tolist())}.isdisjoint(map(tuple, held.tolist()))
    everyone = torch.cat((seen, held))
    assert len(everyone.unique(dim=0)) == len(everyone) == 2592
    assert (everyone.amin(0) == 0).all() and (everyone.amax(0) + 1).tolist() == list(SHEETS)
    for variants in (seen, held):  # every part is in both splits, in other combinations
        assert [len(column.unique()) for column in variants.T] == list(SHEETS)


def test_the_split_never_changes(data: SpriteSequences) -> None:
    assert data.characters("train", torch.arange(3)).tolist() == [
        [0, 0, 2, 1, 0, 2],
        [4, 0, 4, 1, 4, 2],
        [2, 0, 2, 0, 0, 4],
    ]
    assert data.characters("validation", torch.tensor([518])).tolist() == [[3, 0, 4, 1, 5, 3]]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_images_are_the_characters_in_the_first_frame_of_the_walk(data: SpriteSequences, split: str) -> None:
    indices = torch.tensor([0, 7, 300, 7])
    images = data.images(split, indices)
    assert images.shape == (4, 3, 64, 64) and images.dtype == torch.float32
    assert torch.equal(decoded(images)[..., 0], data.characters(split, indices))
    assert all((code == want).all() for code, want in zip(shown(images), (10, 8), strict=True))


@pytest.mark.parametrize("steps", [1, 7, 17])
def test_single_plays_each_action_from_its_first_frame(data: SpriteSequences, steps: int) -> None:
    data = configured(data, num_steps=steps)
    indices, which = torch.arange(9) + 100, torch.arange(9)
    frames, activity = data.single("train", indices, which)
    assert frames.shape == (9, steps + 1, 3, 64, 64) and frames.dtype == activity.dtype == torch.float32
    assert torch.equal(activity, torch.eye(9)[:, None].expand(9, steps, 9))
    assert torch.equal(decoded(frames)[..., 0], data.characters("train", indices)[:, None].expand(9, steps + 1, 6))
    rows, columns = shown(frames)
    assert torch.equal(rows, torch.tensor(ROWS)[:, None].expand(9, steps + 1))
    for pose in range(9):
        expected = (cycle(pose) * steps)[: steps + 1]
        assert tuple(columns[pose].tolist()) == expected
        if steps == 7:
            assert expected == COLUMNS[pose // 3]  # the published sequence


def test_single_with_a_generator_starts_anywhere_in_the_cycle(data: SpriteSequences) -> None:
    indices = torch.zeros(450, dtype=torch.long)
    which = torch.arange(450) % 9
    batch = data.single("train", indices, which, torch.Generator().manual_seed(3))
    again = data.single("train", indices, which, torch.Generator().manual_seed(3))
    other = data.single("train", indices, which, torch.Generator().manual_seed(4))
    assert torch.equal(batch.frames, again.frames) and not torch.equal(batch.frames, other.frames)
    assert torch.equal(batch.activity, torch.eye(9)[which][:, None].expand(450, 7, 9))
    columns = shown(batch.frames)[1]
    for pose in range(9):
        around = cycle(pose) * 3
        windows = [around[start : start + 8] for start in range(len(cycle(pose)))]
        found = [tuple(row) for row in columns[which == pose].tolist()]
        assert set(found) == set(windows)  # all of them in 50 draws: the chance of missing one is below 0.01


def test_something_moves_at_every_active_step_and_nothing_otherwise(data: SpriteSequences) -> None:
    data = configured(data, num_steps=20)
    indices = torch.arange(100)
    frames, activity = data.mixed("train", indices, torch.Generator().manual_seed(0))
    assert activity.unique().tolist() == [0.0, 1.0] and activity.shape == (100, 20, 9)
    acting = activity.sum(-1)
    assert acting.amax() == 1 and ((activity.sum(1) > 0).sum(-1) <= 1).all()  # one action throughout
    assert torch.equal(decoded(frames)[..., 0], data.characters("train", indices)[:, None].expand(100, 21, 6))
    rows, columns = shown(frames)
    moved = (frames[:, 1:] != frames[:, :-1]).flatten(2).any(-1)
    assert torch.equal(moved, acting > 0)
    which = torch.tensor([ROWS.index(row) for row in rows[:, 0].tolist()])
    assert (rows == rows[:, :1]).all() and torch.bincount(which, minlength=9).amin() > 3
    for sequence in range(100):
        count, around = acting[sequence].cumsum(0).long().tolist(), cycle(int(which[sequence]))
        expected = [[around[(start + n) % len(around)] for n in (0, *count)] for start in range(len(around))]
        assert columns[sequence].tolist() in expected
        if count[-1]:
            assert activity[sequence].sum(0).argmax() == which[sequence]


def acting_share(data: SpriteSequences, **changes: object) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return configured(data, num_steps=60, **changes).mixed("train", torch.arange(60), generator).activity.sum(-1)


def test_pauses(data: SpriteSequences) -> None:
    acting = acting_share(data)
    assert 0.2 < 1 - acting.mean() < 0.26  # 0.15 / (0.15 + 0.5) = 0.23
    before, after = acting[:, :-1] > 0, acting[:, 1:] > 0
    assert (after[before].float().mean() - 0.85).abs() < 0.02 and (after[~before].float().mean() - 0.5).abs() < 0.04
    assert acting_share(data, stay=1.0).mean() == 1
    acting = acting_share(data, protocol="sta", on_rate=0.2, off_rate=0.6)
    assert (acting.mean() - 0.25).abs() < 0.02


def test_mixed_is_determined_by_its_generator(data: SpriteSequences) -> None:
    indices = torch.arange(16)
    first, again, other = (data.mixed("validation", indices, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(first.frames, again.frames) and torch.equal(first.activity, again.activity)
    assert not torch.equal(first.activity, other.activity)


def test_stills_are_frames_of_mixed(data: SpriteSequences) -> None:
    indices = torch.arange(16)
    frames = data.mixed("train", indices, torch.Generator().manual_seed(5)).frames
    for count, chosen in ((3, [0, 4, 7]), (1, [0]), (20, range(8))):
        stills = data.stills("train", indices, count, torch.Generator().manual_seed(5))
        assert torch.equal(stills, frames[:, list(chosen)])


def test_a_batch_equals_its_sequences(data: SpriteSequences) -> None:
    indices, which = torch.tensor([4, 400, 2000]), torch.tensor([0, 4, 8])
    batch = data.single("train", indices, which)
    for one in range(3):
        alone = data.single("train", indices[one : one + 1], which[one : one + 1])
        assert torch.equal(alone.frames[0], batch.frames[one]) and torch.equal(alone.activity[0], batch.activity[one])


def test_what_is_not_there(data: SpriteSequences) -> None:
    zero = torch.tensor([0])
    for use in (data.size, lambda split: data.images(split, zero), lambda split: data.single(split, zero, zero)):
        with pytest.raises(
            UserError, match="^split: found 'test', expected 'train' or 'validation', all that LPC Sprites"
        ):
            use("test")
    for bad in (-1, 2073):
        with pytest.raises(IndexError):
            data.images("train", torch.tensor([bad]))
    with pytest.raises(IndexError):
        data.single("train", zero, torch.tensor([9]))
