"""Sequences in memory: axes, values, activity, what is held out, and Datasets."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from ffrl.core.errors import UserError
from ffrl.data.arrays import arrays, dataset
from ffrl.data.spec import DataSpec

SHAPE = (6, 4, 3, 12, 20)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, dtype=np.float32)


def whole(data, split: str = "train") -> torch.Tensor:
    return data.mixed(split, torch.arange(data.size(split))).frames


def test_every_order_of_axes_gives_the_same_frames():
    frames = random(*SHAPE)
    first = arrays(frames)
    assert first.image_shape == (3, 12, 20) and first.num_steps == 3 and first.transformations == ()
    assert first.size("train") + first.size("validation") == 6
    for other in (np.moveaxis(frames, 2, -1), torch.as_tensor(frames), frames.astype(np.float64)):
        assert torch.allclose(whole(arrays(other)), whole(first))
    grey = arrays(frames[:, :, 0])
    assert grey.image_shape == (1, 12, 20) and torch.equal(whole(grey), whole(first)[:, :, :1])
    narrow = random(6, 4, 3, 12, 4)
    assert arrays(narrow, channels="first").image_shape == (3, 12, 4)
    assert arrays(narrow, channels="last").image_shape == (4, 3, 12)


def test_bytes_become_numbers_between_0_and_1():
    data = arrays(np.full((3, 2, 5, 7), 51, np.uint8))
    assert whole(data).dtype == torch.float32 and torch.allclose(whole(data), torch.tensor(0.2))
    assert data.images("train", torch.tensor([0])).shape == (1, 1, 5, 7)
    assert data.stills("train", torch.tensor([1]), 1, None).shape == (1, 1, 1, 5, 7)


def test_what_is_held_out_is_drawn_by_a_seed_or_given():
    frames = random(10, 2, 5, 7)
    one, again, other = (arrays(frames, validation=0.3, seed=seed) for seed in (0, 0, 1))
    assert one.size("validation") == 3
    assert torch.equal(whole(one), whole(again)) and not torch.equal(whole(one), whole(other))
    both = torch.cat([whole(one), whole(one, "validation")]).flatten(1).sum(1).sort().values
    assert torch.allclose(both, torch.as_tensor(frames).flatten(1).sum(1).sort().values)
    held = random(4, 2, 5, 7, seed=1)
    given = arrays(frames, validation=held)
    assert np.array_equal(whole(given)[:, :, 0], frames) and np.array_equal(whole(given, "validation")[:, :, 0], held)
    expected = "expected 'train' or 'validation': there are no others of arrays in memory"
    with pytest.raises(UserError, match=f"found 'test', {expected}"):
        given.size("test")


def test_activity_goes_with_the_frames():
    frames, speeds = random(10, 4, 5, 7), random(10, 3, 2)
    data = arrays(frames, speeds, transformations=("turn", "grow"))
    assert data.transformations == ("turn", "grow") and not data.prescribed
    batch = data.mixed("train", torch.arange(data.size("train")))
    for row, picture in zip(batch.activity, batch.frames, strict=True):
        (place,) = np.flatnonzero((frames[:, :, None] == picture.numpy()).all((1, 2, 3, 4)))
        assert np.array_equal(row, speeds[place])
    assert arrays(frames, speeds).transformations == ("transformation 1", "transformation 2")
    for other in (speeds.astype(">f8"), torch.as_tensor(speeds).requires_grad_(), speeds.tolist()):
        again = arrays(frames, other).mixed("train", torch.arange(data.size("train"))).activity
        assert torch.equal(again, batch.activity) and not again.requires_grad
    for complex_speeds in (speeds + 1j, torch.as_tensor(speeds) + 1j):
        with pytest.raises(UserError, match="^activity: found 'complex values', expected speeds"):
            arrays(frames, complex_speeds)
    given = arrays(frames, speeds, validation=(frames[:3], speeds[:3]))
    assert np.array_equal(given.mixed("validation", torch.arange(3)).activity, speeds[:3])
    with pytest.raises(UserError, match="found arrays in memory, whose sequences are as they are"):
        data.single("train", torch.tensor([0]), torch.tensor([0]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda f: f[0, 0],
            r"frames: found shape \(3, 12, 20\), which may be vectors: stf.data.vectors, expected pictures, \(N, T\+1",
        ),
        (lambda f: f[0, 0, 0], r"frames: found shape \(12, 20\), expected pictures, \(N, T\+1, C, H, W\)"),
        (lambda f: f[:, :1], "frames: found clips of 1 frame, expected at least 2"),
        (lambda f: f[:1], "frames: found '1 sequences', expected at least 2"),
        (lambda f: f * 2, r"frames: found values in \[.*\], expected values in \[0, 1\]"),
        (lambda f: np.where(f > 0.99, np.nan, f), r"frames: found \d+ NaN among 17280 values, expected values in"),
        (lambda f: f.astype(np.int64), "frames: found values of type torch.int64, expected uint8"),
        (lambda f: f[..., :4], "frames: found shape .* expected channels='first' or 'last' to say which axis"),
        (lambda f: np.ma.masked_greater(f, 0.9), r"frames: found [\d,]+ masked values, expected none"),
        (lambda f: f.astype(object), "frames: found values of type object, expected an array or a tensor of frames"),
        (lambda f: torch.tensor(f).to_sparse(), "frames: found a tensor of layout torch.sparse_coo on cpu"),
        (lambda f: torch.zeros(f.shape, device="meta"), "frames: found a tensor of layout torch.strided on meta"),
        (lambda f: "frames.npy", "frames: found str, expected an array or a tensor of frames"),
    ],
)
def test_wrong_frames_are_one_line(change, message):
    with pytest.raises(UserError, match=message) as error:
        arrays(change(random(*SHAPE)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.astype(">f4"),
        lambda f: f.astype(np.longdouble),
        lambda f: list(f),
        lambda f: [torch.tensor(clip) for clip in f],
        lambda f: torch.tensor(f, requires_grad=True) * 1.0,
        lambda f: np.ma.masked_array(f, mask=False),
    ],
    ids=["big-endian", "longdouble", "list", "tensors", "graph", "unmasked"],
)
def test_arrays_of_other_kinds_hold_the_same_frames(change) -> None:
    frames = random(*SHAPE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = arrays(change(frames)).mixed("train", torch.arange(2)).frames
    assert torch.equal(found, arrays(frames).mixed("train", torch.arange(2)).frames) and not found.requires_grad


def test_reversed_and_read_only_arrays_are_taken_without_a_warning() -> None:
    frames = random(*SHAPE)
    frames.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = arrays(frames[:, ::-1], validation=np.float32(0.2)).mixed("train", torch.arange(2)).frames
    assert torch.equal(found, arrays(frames.copy()).mixed("train", torch.arange(2)).frames.flip(1))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"activity": random(6, 4, 2)}, r"activity: found shape \(6, 4, 2\), expected \(6, 3, J\)"),
        ({"activity": np.full((6, 3, 2), np.inf)}, "activity: found 36 values that are not finite"),
        ({"activity": random(6, 3, 2), "transformations": ("turn",)}, "transformations: found .* expected 2 different"),
        ({"transformations": ("turn",)}, "transformations: found .* expected 0 different"),
        ({"validation": 1.5}, "validation: found 1.5, expected a share strictly between 0 and 1"),
        ({"validation": random(2, 3, 3, 12, 20)}, "validation: found clips of .* expected"),
        (
            {"validation": random(2, 4, 3, 12, 20), "activity": random(6, 3, 2)},
            "found activity for some sequences",
        ),
        ({"channels": "middle"}, "channels: found 'middle', expected 'first' or 'last'"),
    ],
)
def test_wrong_settings_are_one_line(given, message):
    with pytest.raises(UserError, match=message) as error:
        arrays(random(*SHAPE), **given)
    assert "\n" not in str(error.value)


class Clips(torch.utils.data.Dataset):
    """Clips with or without activity, of which the last may be another kind."""

    def __init__(self, count: int = 8, known: bool = False, odd: bool = False) -> None:
        self.count, self.known, self.odd, self.read = count, known, odd, []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int):
        self.read.append(index)
        steps = 5 if self.odd and index == self.count - 1 else 4
        frames = np.full((steps, 6, 9, 3), 10 * index, np.uint8)
        return (frames, np.full((steps - 1, 2), float(index))) if self.known else frames


def test_a_dataset_is_read_as_it_is_needed():
    source = Clips(known=True)
    data = dataset(source, validation=0.25)
    assert data.image_shape == (3, 6, 9) and data.num_steps == 3 and data.streamed and source.read == [0]
    batch = data.mixed("validation", torch.arange(2))
    assert batch.frames.shape == (2, 4, 3, 6, 9) and batch.activity.shape == (2, 3, 2)
    rows = data.parts["validation"]
    assert source.read == [0, *rows.tolist()]
    assert torch.allclose(batch.frames[:, 0, 0, 0, 0] * 255, 10.0 * rows) and batch.activity[1, 0, 0] == rows[1]
    joined = dataset(Clips(5), validation=Clips(2))
    assert joined.size("train") == 5 and joined.size("validation") == 2 and joined.transformations == ()
    assert joined.mixed("validation", torch.tensor([1])).frames.max() == pytest.approx(10 / 255)


def test_a_dataset_that_cannot_be_used_is_one_line():
    data = dataset(Clips(odd=True), validation=Clips(1))
    with pytest.raises(UserError, match="clip 7: found shape .* as the first one has"):
        data.mixed("train", torch.arange(8))
    with pytest.raises(UserError, match="dataset: found no length"):
        dataset(iter([]))
    with pytest.raises(UserError, match="dataset: found 'no clips'"):
        dataset([])


@pytest.mark.parametrize(
    "change",
    [
        {"image_shape": [1, 12]},
        {"image_shape": 3},
        {"num_steps": "5"},
        {"num_steps": 0},
        {"transformations": [1]},
        {"further": 1},
    ],
)
def test_a_damaged_description_is_one_line(change):
    values = DataSpec("arrays", "bars", (1, 12, 20), 5).plain()
    assert DataSpec.read(values, "run.json") == DataSpec("arrays", "bars", (1, 12, 20), 5)
    with pytest.raises(UserError, match="^run.json: ") as error:
        DataSpec.read(values | change, "run.json")
    assert "\n" not in str(error.value)
