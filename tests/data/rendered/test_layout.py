"""Grids that are rendered in the published layout, read by the readers of the published files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scenes import Painted, painted_numbers

from ffrl.config import DataConfig
from ffrl.core.errors import UserError
from ffrl.data import load
from ffrl.data.catalogue import image_shape, published_steps
from ffrl.data.fetch.recipes import verify
from ffrl.data.grids.made import MARK
from ffrl.data.rendered.layout import GRIDS, coarser, write_grid
from ffrl.evaluation.protocol.published import published


@pytest.fixture
def painted(monkeypatch: pytest.MonkeyPatch) -> Painted:
    return Painted(monkeypatch)


@pytest.mark.parametrize("name", GRIDS)
def test_a_grid_is_read_as_the_published_one(name: str, tmp_path: Path, painted: Painted) -> None:
    said = write_grid(name, tmp_path, 2, 16, 1)
    assert f"{painted.count} rendered pictures of 16 x 16" in said and painted.count == 2 ** len(
        GRIDS[name].factors.names
    )
    config = DataConfig(name=name, root=tmp_path, num_steps=published_steps(DataConfig(name=name, root=tmp_path)))
    assert config.num_steps == 1 and image_shape(config) == (3, 16, 16)
    data = load(config)
    assert data.title.startswith("rendered ") and set(data.unit_steps) == {"the next of 2 values"}
    count = len(data.transformations)
    batch = data.single("validation", torch.arange(count), torch.arange(count))
    numbers = painted_numbers(batch.frames, len(GRIDS[name].drawn.names))
    moved = numbers[:, 1] - numbers[:, 0]
    halfway = [0.5 if factor in GRIDS[name].drawn.circles else 1.0 for factor in GRIDS[name].drawn.names[1:]]
    assert (moved[:, 1:] - torch.diag(torch.tensor(halfway))).abs().max() < 0.003 and (moved[:, 0] == 0).all()
    assert verify(name, tmp_path).endswith("all undamaged, labels in order")
    assert published({"name": name, "title": data.title, "protocol": "ffrl", "num_steps": 1}) is None


def test_the_published_sizes_are_the_default() -> None:
    assert coarser(GRIDS["isaac3d"].factors, None).count == 737280
    assert coarser(GRIDS["falcor3d"].factors, 5).sizes == (5,) * 7
    assert published_steps(DataConfig(name="isaac3d", root=Path("there"))) == 3


def test_other_files_are_left_alone(tmp_path: Path, painted: Painted) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match="^--root: found other files in"):
        write_grid("isaac3d", tmp_path, 2, 16, 1)
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == ["notes.txt"]


def test_a_grid_that_is_half_written_is_no_data_set_and_is_gone_on_with(
    tmp_path: Path, painted: Painted, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_grid("falcor3d", tmp_path, 3, 16, 1)
    with monkeypatch.context() as patch:
        patch.setattr(np, "save", lambda *arguments: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(UserError, match="cannot write .*No space left"):
            write_grid("falcor3d", tmp_path, 2, 16, 1)
    with pytest.raises(UserError, match="found no train-rec.labels"):
        load(DataConfig(name="falcor3d", root=tmp_path, num_steps=1))
    write_grid("falcor3d", tmp_path, 2, 16, 1)
    assert len(list((tmp_path / "images").iterdir())) == 128
    load(DataConfig(name="falcor3d", root=tmp_path, num_steps=1))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("{", "rendered.json: "),
        ('{"format": 1, "sizes": [2, "x"], "size": 16}', r"rendered.json: sizes\[1\]: found 'x', expected an integer"),
        ('{"format": 2, "sizes": [2], "size": 16}', "rendered.json: found format 2 with sizes"),
        ('{"format": 1, "sizes": [2, 0], "size": 16}', "rendered.json: found format 1 with sizes"),
        ('{"format": 1, "sizes": [2, 2], "size": 16}', "rendered.json: found 2 factors, expected 9, those of isaac3d"),
        (
            '{"format": 1, "sizes": [3, 8, 5, 4, 4, 9, 6, 4, 4], "size": 16}',
            r"rendered.json: found sizes .*, expected at most \(3, 8, 5, 4, 4, 4, 6, 4, 4\)",
        ),
    ],
)
def test_a_damaged_mark_is_named(content: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / MARK).write_text(content)
    with pytest.raises(UserError, match=found):
        load(DataConfig(name="isaac3d", root=tmp_path, num_steps=1))
