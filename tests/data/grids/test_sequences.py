"""Sequences on grids of factors: stored images are looked up by digits, rendered ones lie in between."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from layouts import all_digits, picture, shown_digits

from ffrl.config import DataConfig
from ffrl.config.data import DATA_SETS
from ffrl.core.errors import UserError
from ffrl.data.grids.factors import Factors
from ffrl.data.grids.sequences import GridSequences, MemoryImages, StoredSequences
from ffrl.data.synthesis.states import moved, renderable

SIZES = (3, 5, 2, 4)
NAMES = ("depth", "hue", "shape", "scale")
FACTORS = Factors(NAMES, SIZES)
MOVED = (1, 3, 0)
"""Hue, scale, depth: not the order of the file, and without the shape."""
LAST = torch.tensor([4.0, 3.0, 2.0])
CONFIG = DataConfig(num_steps=2)


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    """Tell the catalogue of the toy data set."""
    monkeypatch.setitem(DATA_SETS.built_in, "toy", "layouts:TOY")


class Pictures:
    """Stored images that remember what was read."""

    count, image_shape, block, about = 120, (3, 16, 16), 7, "toys in a box"

    def __init__(self):
        self.reads = []

    def read(self, indices):
        self.reads.append(indices.tolist())
        digits = np.stack(np.unravel_index(indices.numpy(), SIZES), -1)
        return torch.from_numpy(np.stack([picture(row, 16) for row in digits])).permute(0, 3, 1, 2)


class Stored(StoredSequences):
    name, title, unit_steps = "toy", "Toy", ("one", "two", "three")

    def __init__(self, config=CONFIG):
        super().__init__(config, FACTORS, MOVED, Pictures())


class Rendered(GridSequences):
    """Images that hold nothing but their digits."""

    name, title, unit_steps, limits = "toy", "rendered toy", ("one", "two", "three"), "less than 9"

    def __init__(self, config=CONFIG):
        super().__init__(config, FACTORS, MOVED)

    def showable(self, visited):
        return (visited.abs() < 9).all(-1)

    def frames(self, digits):
        return digits[..., None, None].expand(*digits.shape, 1, 1)


def shown(batch):
    """Digits of the frames of rendered sequences, ``(B, T+1, F)``."""
    return batch.frames[..., 0, 0]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def everything(data):
    return torch.cat([data.factors.index(own_digits(data, split)) for split in ("train", "validation")])


def own_digits(data, split):
    return shown_digits(data.images(split, torch.arange(data.size(split))), len(SIZES))


def test_all_images_are_initial_images_of_one_split():
    data = Stored()
    assert (data.size("train"), data.size("validation")) == (96, 24)
    assert everything(data).sort().values.equal(torch.arange(120))
    assert (data.graded, data.streamed, data.device.type) == (False, True, "cpu")
    for call in (lambda: data.size("test"), lambda: data.images("test", torch.arange(2))):
        with pytest.raises(UserError, match="^split: found 'test', expected train or validation: Toy has no test"):
            call()
    with pytest.raises(IndexError):
        data.images("validation", torch.tensor([24]))


def test_the_origin_is_what_the_image_shows():
    data = Stored()
    own = own_digits(data, "train")
    assert own.unique(dim=0).shape == (96, 4)
    assert data.origin("train", torch.arange(96)).tolist() == own[:, [1, 3, 0]].float().tolist()


@pytest.mark.parametrize("generator", [None, seeded()])
def test_single_sequences_start_at_digit_zero_and_never_carry(generator):
    data = Stored()
    indices = torch.arange(96).repeat_interleave(3)
    which = torch.tensor([0, 1, 2]).repeat(96)
    batch = data.single("train", indices, which, generator)
    digits, own = shown_digits(batch.frames, 4), own_digits(data, "train").repeat_interleave(3, 0)
    expected = own[:, None].repeat(1, 3, 1)
    for row, column in enumerate(torch.tensor(MOVED)[which].tolist()):
        expected[row, :, column] = torch.arange(3)
    assert digits.equal(expected)
    assert batch.activity.equal(torch.eye(3)[which][:, None].expand(-1, 2, -1))
    assert (own[:, [1, 3, 0]] > 0).any(0).all(), "no start would carry"


@pytest.mark.parametrize("protocol", ["ffrl", "sta"])
def test_mixed_sequences_move_by_their_activity_and_stay_in_the_grid(protocol):
    config = DataConfig(num_steps=2, protocol=protocol, on_rate=0.4, overlap=0.5, start_probability=1.0)
    data = Stored(config)
    indices = torch.arange(96).repeat(5)
    batch = data.mixed("train", indices, seeded())
    digits, own = shown_digits(batch.frames, 4), own_digits(data, "train").repeat(5, 1)
    assert batch.activity.unique().tolist() == [0, 1] and (batch.activity.sum(-1) > 1).any()
    assert digits.diff(dim=1)[..., [1, 3, 0]].float().equal(batch.activity)
    assert digits[..., 2].equal(own[:, None, 2].expand(-1, 3)), "the shape changed"
    start = digits[:, 0, [1, 3, 0]]
    still = batch.activity.sum(1) == 0
    assert start[still].equal(own[:, [1, 3, 0]][still])
    room = (LAST - batch.activity.sum(1)).long()
    assert ((start >= 0) & (start <= room)).all()
    for column, count in enumerate((5, 4, 3)):
        wanted = [
            digit * (free + 1) // count for digit, free in zip(own[:, MOVED[column]], room[:, column], strict=True)
        ]
        assert start[:, column].tolist() == [value.item() for value in wanted]
        for free in room[:, column].unique().tolist():
            here = room[:, column] == free
            assert start[here, column].unique().tolist() == list(range(free + 1))
    again = data.mixed("train", indices, seeded())
    assert again.frames.equal(batch.frames) and not data.mixed("train", indices, seeded(1)).frames.equal(batch.frames)


@pytest.mark.parametrize("kind", [Stored, Rendered])
@pytest.mark.parametrize("probability", [0.0, 0.3, None])
def test_transformations_start_at_the_first_value_or_where_the_image_is(kind, probability):
    indices = torch.arange(96).repeat(20)
    activity = torch.zeros(len(indices), 2, 3)
    data = kind(DataConfig(num_steps=2, start_probability=probability))
    moved, start = data.placed("train", indices, activity, seeded())
    origin = data.origin("train", indices)
    kept = start == origin
    assert torch.equal(moved, activity) and (kept | (start == 0)).all()
    share = kept[origin > 0].float().mean().item()
    assert share == pytest.approx(1.0 if probability is None else probability, abs=0.03)


def test_stills_are_frames_of_mixed_sequences():
    data = Stored()
    indices = torch.arange(24)
    mixed = data.mixed("validation", indices, seeded(3)).frames
    assert data.stills("validation", indices, 2, seeded(3)).equal(mixed[:, [0, 2]])


def test_every_image_is_read_once_per_batch():
    data = Stored()
    data.mixed("train", torch.arange(96), seeded())
    (read,) = data.source.reads
    assert read == sorted(set(read)) and len(read) <= 120


@pytest.mark.parametrize(("steps", "message"), [(3, "depth has 3 values"), (9, "depth has 3 values")])
def test_too_many_steps_are_refused(steps, message):
    with pytest.raises(UserError, match=f"^data.num-steps: found {steps}, expected at most 2 for Toy: {message}"):
        Stored(dataclasses.replace(CONFIG, num_steps=steps))
    assert Rendered(dataclasses.replace(CONFIG, num_steps=8)).num_steps == 8
    with pytest.raises(UserError, match="^data.num-steps: found 9, expected at most 8 for rendered toy: hue has 5"):
        Rendered(dataclasses.replace(CONFIG, num_steps=9))


def test_a_source_of_another_size_is_refused(monkeypatch):
    monkeypatch.setattr(Pictures, "count", 119)
    with pytest.raises(UserError, match=r"^Toy: found \(119, .*expected \(120"):
        Stored()


def test_moves_on_request_stay_in_the_grid():
    data = Stored()
    zero = (data.origin("train", torch.arange(96)) == torch.tensor([1.0, 0, 2])).all(-1).nonzero()[:1, 0]
    ones = torch.tensor([[1.0, 1, 0], [1, 0, 0], [1, 0, 0]])
    assert shown_digits(moved(data, "train", zero, ones).frames, 4)[0, :, 1].tolist() == [1, 2, 3, 4]
    for wrong in (torch.tensor([[0.0, 0, 1]]), torch.tensor([[0.5, 0, 0]]), torch.tensor([[0.0, -1, 0]])):
        assert not renderable(data, "train", zero, wrong)
        with pytest.raises(UserError, match=r"states that Toy does not show, expected whole states .*\(5, 4, 3\)"):
            moved(data, "train", zero, wrong)
    with pytest.raises(UserError, match="^state of depth: found 3, expected a whole number from 0 to 2"):
        data.in_states("train", zero, torch.tensor([[[0.0, 0.0, 3.0]]]))


def test_rendered_sequences_start_on_the_grid_and_run_at_any_speed():
    data = Rendered(DataConfig(num_steps=2, speed_spread=0.5, stay=0.5, start_probability=1.0))
    indices = torch.arange(96).repeat(20)
    batch = data.mixed("train", indices, seeded())
    digits, own = shown(batch), data.factors.digits(data._split["train"][indices]).float()
    assert digits.diff(dim=1)[..., [1, 3, 0]].sub(batch.activity).abs().max() < 1e-5
    assert digits[..., 2].equal(own[:, None, 2].expand(-1, 3))
    visited = digits[..., [1, 3, 0]]
    assert visited.min() > -1e-5 and (visited.amax((0, 1)) < LAST + 1e-5).all()
    speeds = batch.activity[batch.activity > 0]
    assert speeds.min() < 0.6 and 1.4 < speeds.max() <= 1.5 and data.graded
    total = batch.activity.sum(1)
    expected = own[:, [1, 3, 0]] / LAST * (LAST - total)
    assert visited[:, 0].sub(expected).abs().max() < 1e-5


def test_a_path_longer_than_the_grid_is_slowed_down():
    data = Rendered(DataConfig(num_steps=8, start_probability=1.0))
    activity = torch.tensor([1.0, 0.25, 0.5]).expand(96, 8, 3)
    indices = torch.arange(96)
    slower, start = data.placed("train", indices, activity, seeded())
    total = slower.sum(1)
    assert total[:, 0].sub(4).abs().max() < 1e-5, "8 steps at speed 1 on 5 values"
    assert total[:, 1].sub(2).abs().max() < 1e-5 and total[:, 2].sub(2).abs().max() < 1e-5
    assert slower[:, :, 0].unique().tolist() == pytest.approx([0.5])
    origin = data.origin("train", indices)
    assert start[:, 0].abs().max() < 1e-5 and start[:, 2].abs().max() < 1e-5
    assert start[:, 1].tolist() == pytest.approx((origin[:, 1] / 3).tolist(), abs=1e-5)


def test_paths_that_go_back_stay_in_the_grid():
    data = Rendered(DataConfig(num_steps=2))
    activity = torch.tensor([[-0.5, 0.0, 1.0], [0.2, 0.0, -3.0]]).expand(96, 2, 3)
    slower, start = data.placed("train", torch.arange(96), activity, seeded())
    visited = torch.stack([start, start + slower[:, 0], start + slower[:, 0] + slower[:, 1]], 1)
    assert visited.min() > -1e-5 and (visited.amax((0, 1)) < LAST + 1e-5).all()
    assert visited[..., 0].max() == pytest.approx(4) and visited[..., 0].min() == pytest.approx(0)
    assert slower[0, :, 2].tolist() == pytest.approx([2 / 3, -2]) and slower[0, :, 0].tolist() == pytest.approx(
        [-0.5, 0.2]
    )


def test_rendered_single_sequences_run_at_unit_speed():
    data = Rendered(DataConfig(num_steps=8))
    batch = data.single("validation", torch.arange(3), torch.tensor([2, 0, 1]), seeded())
    digits, own = shown(batch), data.origin("validation", torch.arange(3))
    assert digits[0, :, 0].tolist() == digits[1, :, 1].tolist() == digits[2, :, 3].tolist() == list(range(9))
    assert digits[0, :, 1].unique().tolist() == own[0, :1].tolist()
    assert batch.activity.sum((1, 2)).tolist() == [8, 8, 8]


def test_images_in_memory_are_those_of_the_source(capsys):
    source = Pictures()
    images = MemoryImages(source, "toys")
    assert sum(source.reads, []) == list(range(120)) and max(map(len, source.reads)) == 7
    indices = torch.tensor([119, 3, 3, 0])
    assert images.read(indices).equal(source.read(indices)) and images.read(indices).dtype == torch.uint8
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "reading toys into memory: 0.1 MiB" and lines[-1].endswith(", done")
    assert (images.count, images.image_shape) == (120, (3, 16, 16))
    assert images.about == "toys in a box; 0.0 GiB, all of it in memory" and Stored().about == "toys in a box"


def test_more_than_the_memory_of_the_machine_is_refused(monkeypatch):
    monkeypatch.setattr("ffrl.data.grids.sequences.memory", lambda device: 92159)
    with pytest.raises(UserError, match="^data.in-memory: found 0.0 GiB of memory, expected more than the 0.0 GiB of"):
        MemoryImages(Pictures(), "toys")
    monkeypatch.setattr("ffrl.data.grids.sequences.memory", lambda device: 92160)
    assert MemoryImages(Pictures(), "toys").count == len(all_digits(SIZES))
