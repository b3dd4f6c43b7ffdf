"""Moving digits: where they are, how they bounce, that no pixel is lost, and several digits in a frame."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ffrl import data as ffrl_data
from ffrl.config import DataConfig
from ffrl.core.errors import UserError
from ffrl.data.digits import moving_mnist
from ffrl.data.digits.mnist import read_training_digits
from ffrl.data.digits.moving_mnist import MovingMnistSequences, bounced, translated
from ffrl.data.synthesis.activity_process import states
from ffrl.data.synthesis.states import moved, renderable

WAYS = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
"""Right, left, down and up in (x, y), y downwards."""
STEP = 3


def load(**changes: object) -> MovingMnistSequences:
    return ffrl_data.load(DataConfig(name="moving-mnist", **changes))


@pytest.fixture(scope="module")
def one() -> MovingMnistSequences:
    return load()


@pytest.fixture(scope="module")
def two() -> MovingMnistSequences:
    return load(digits=2)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def digits(split: str, indices: list[int]) -> Tensor:
    images = read_training_digits(None).images
    return torch.from_numpy(images[[index + (8000 if split == "validation" else 0) for index in indices]]) / 255


def centroid(frames: Tensor) -> Tensor:
    """(x, y) of the centre of mass of pictures, (..., H, W) -> (..., 2), in float64."""
    frames = frames.double()
    pixels = torch.arange(frames.shape[-1], dtype=torch.float64)
    moments = torch.stack(((frames.sum(-2) * pixels).sum(-1), (frames.sum(-1) * pixels).sum(-1)), dim=-1)
    return moments / frames.sum((-2, -1))[..., None]


def displacement(activity: Tensor) -> Tensor:
    """Pixels to the right and downwards at every step, (B, T, 4) -> (B, T, 2)."""
    return STEP * activity @ WAYS


def test_description(one: MovingMnistSequences, two: MovingMnistSequences) -> None:
    assert (one.name, one.title, one.num_steps, one.protocol) == ("moving-mnist", "Moving MNIST", 8, None)
    assert one.image_shape == ffrl_data.image_shape(DataConfig(name="moving-mnist")) == (1, 64, 64)
    assert one.transformations == ("right", "left", "down", "up")
    assert one.unit_steps == ("3 pixels to the right", "3 pixels to the left", "3 pixels down", "3 pixels up")
    assert two.transformations[:5] == ("1-right", "1-left", "1-down", "1-up", "2-right")
    assert two.unit_steps == 2 * one.unit_steps and len(two.transformations) == 8


@pytest.mark.parametrize("split", ["train", "validation"])
def test_images_are_the_digits_in_the_centre(one: MovingMnistSequences, split: str) -> None:
    assert one.size(split) == {"train": 8000, "validation": 2000}[split]
    frames = one.images(split, torch.tensor([0, 1999, 5]))
    assert frames.shape == (3, 1, 64, 64) and frames.dtype == torch.float32
    assert torch.equal(frames[:, 0, 18:46, 18:46], digits(split, [0, 1999, 5]))
    assert frames.count_nonzero() == frames[:, :, 18:46, 18:46].count_nonzero()


def test_translation_by_whole_pixels_copies_the_picture() -> None:
    image = torch.rand(1, 1, 28, 28, generator=generator())
    for x, y in ((0, 0), (36, 36), (7, 20), (36, 0)):
        frame = translated(image, torch.tensor([[[[x, y]]]]).float(), 64)[0, 0, 0]
        expected = torch.zeros(64, 64)
        expected[y : y + 28, x : x + 28] = image
        assert torch.equal(frame, expected)


def test_translation_between_pixels_mixes_four_neighbours() -> None:
    frame = translated(torch.ones(1, 1, 1, 1), torch.tensor([[[[1.25, 2.5]]]]), 5)[0, 0, 0]
    expected = torch.zeros(5, 5)
    expected[2:4, 1:3] = torch.tensor([[0.375, 0.125], [0.375, 0.125]])
    assert torch.equal(frame, expected)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 3e-5), (torch.float64, 1e-12)])
def test_translation_keeps_the_sum_and_moves_the_centroid_exactly(dtype: torch.dtype, tolerance: float) -> None:
    images = torch.rand(5, 2, 28, 28, generator=generator(), dtype=torch.float64)
    corners = 36 * torch.rand(5, 7, 2, 2, generator=generator(1), dtype=torch.float64)
    frames = translated(images.to(dtype), corners.to(dtype), 64)
    assert frames.shape == (5, 7, 2, 64, 64) and frames.dtype == dtype
    assert frames.double().sum((-2, -1)) == pytest.approx(images.sum((-2, -1))[:, None].expand(5, 7, 2), rel=tolerance)
    assert (centroid(frames) - centroid(images)[:, None] - corners).abs().max() < tolerance


@pytest.mark.parametrize("steps", [1, 8, 12])
def test_single_moves_one_way_throughout(steps: int) -> None:
    data = load(num_steps=steps)
    which, indices = torch.arange(4), torch.tensor([3, 5, 7, 9])
    frames, activity = data.single("validation", indices, which)
    assert frames.shape == (4, steps + 1, 1, 64, 64) and frames.dtype == activity.dtype == torch.float32
    assert torch.equal(activity, torch.eye(4)[:, None].expand(4, steps, 4))
    images = digits("validation", indices.tolist())
    start = 18 + WAYS * min(0, 18 - 3 * steps)  # the centre, or as near to it as leaves room for all steps
    corners = start[:, None] + STEP * torch.arange(steps + 1)[:, None] * WAYS[:, None]
    assert (centroid(frames[:, :, 0]) - centroid(images)[:, None] - corners).abs().max() < 1e-3
    assert torch.equal(frames[0, -1, 0, 18:46, -28:] > 0, images[0] > 0) or steps == 1
    assert frames.sum((2, 3, 4)) == pytest.approx(images.sum((1, 2))[:, None].expand(4, steps + 1), rel=1e-5)


def test_too_many_steps_for_the_frame() -> None:
    message = "^data.num-steps: found 13, expected at most 12: a digit crosses the frame in 12 unit steps$"
    with pytest.raises(UserError, match=message):
        load(num_steps=13)


def test_single_with_a_generator_starts_anywhere_with_room(one: MovingMnistSequences) -> None:
    indices, which = torch.zeros(400, dtype=torch.long), torch.arange(400) % 4
    batch = one.single("train", indices, which, generator(2))
    assert torch.equal(batch.activity, torch.eye(4)[which][:, None].expand(400, 8, 4))
    corners = centroid(batch.frames[:, :, 0]) - centroid(digits("train", [0]))
    assert (corners.diff(dim=1) - displacement(batch.activity)).abs().max() < 1e-3
    assert corners.min() > -1e-3 and corners.max() < 36 + 1e-3
    right = corners[which == 0]
    assert right[:, 0, 0].min() < 1 and right[:, 0, 0].max() > 11  # on [0, 12]: 24 of 36 pixels are needed
    assert right[:, 0, 1].min() < 2 and right[:, 0, 1].max() > 34
    assert torch.equal(one.single("train", indices, which, generator(2)).frames, batch.frames)


@pytest.mark.parametrize("protocol", ["ffrl", "sta"])
def test_in_mixed_sequences_the_position_is_the_sum_of_the_activity(protocol: str) -> None:
    data = load(protocol=protocol, num_steps=12)
    indices = torch.arange(300)
    frames, activity = data.mixed("train", indices, generator(1))
    images = digits("train", indices.tolist())
    corners = centroid(frames[:, :, 0]) - centroid(images)[:, None]
    assert (corners.diff(dim=1) - displacement(activity)).abs().max() < 1e-3
    assert corners.min() > -1e-3 and corners.max() < 36 + 1e-3
    assert frames.sum((2, 3, 4)) == pytest.approx(images.sum((1, 2))[:, None].expand(300, 13), rel=1e-5)
    assert frames.min() == 0 and frames.max() <= 1
    assert activity.min() == 0 and not activity.signbit().any()
    assert (activity[..., 0] * activity[..., 1]).max() == (activity[..., 2] * activity[..., 3]).max() == 0
    assert (activity > 0).float().mean((0, 1)) == pytest.approx(
        torch.full((4,), 0.26 if protocol == "ffrl" else 0.125), abs=0.03
    )
    speeds = activity[activity > 0]
    if protocol == "ffrl":
        assert 0.3 <= speeds.min() < 0.31 and 1.69 < speeds.max() <= 1.7
    else:
        assert speeds.mean() == pytest.approx(1.0, abs=0.01) and speeds.std() == pytest.approx(0.1414, abs=0.01)


def test_digits_turn_round_exactly_where_the_next_step_would_leave() -> None:
    data = load(num_steps=12)
    frames, activity = data.mixed("train", torch.arange(300), generator(1))
    corners = centroid(frames[:, :, 0]) - centroid(digits("train", list(range(300))))[:, None]
    kept = turned = 0
    for path, moves in zip(corners.tolist(), displacement(activity).tolist(), strict=True):
        for axis in (0, 1):
            way = 0.0
            for place, move in zip(path, moves, strict=False):
                size = move[axis]
                if size == 0:
                    continue
                ahead = place[axis] + way * abs(size)
                if way and (size > 0) == (way > 0):
                    assert -2e-3 < ahead < 36 + 2e-3
                    kept += 1
                elif way:
                    assert ahead < 2e-3 or ahead > 36 - 2e-3
                    turned += 1
                way = 1.0 if size > 0 else -1.0
    assert turned > 100 and kept > 1000


def test_bounces_are_whole_steps_and_never_leave() -> None:
    speeds = 6 * torch.rand(500, 40, 3, generator=generator(), dtype=torch.float64)
    speeds[:, ::7] = 6.0
    start = 12 * torch.rand(500, 3, generator=generator(1), dtype=torch.float64) - 6
    moves = bounced(speeds, start, torch.ones_like(start), 6.0)
    assert torch.equal(moves.abs(), speeds)
    assert states(moves, start).abs().max() <= 6 + 1e-12
    example = bounced(
        torch.tensor([[[4.0], [1.0], [2.0], [0.0], [6.0], [1.0]]]), torch.tensor([[1.0]]), torch.ones(1, 1), 6.0
    )
    assert example.flatten().tolist() == [4.0, 1.0, -2.0, 0.0, -6.0, -1.0]  # places 1 5 6 4 4 -2 -3


def test_speeds_no_digit_can_have_are_brought_into_range(
    one: MovingMnistSequences, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = torch.tensor([-0.5, 9.0, 0.0, 0.0, 9.0, 1.0, 0.0, -0.5])[:, None].expand(20, 8, 2)  # Laplace has tails
    monkeypatch.setattr(moving_mnist, "mixed_activity", lambda *arguments: drawn)
    frames, activity = one.mixed("train", torch.arange(20), generator())
    taken = torch.tensor([0.0, 6, 0, 0, 6, 1, 0, 0]).expand(20, 8)
    assert torch.equal(activity[..., :2].sum(-1), taken) and torch.equal(activity[..., 2:].sum(-1), taken)
    sums = digits("train", list(range(20))).sum((1, 2))
    assert frames.sum((2, 3, 4)) == pytest.approx(sums[:, None].expand(20, 9), rel=1e-5)


def test_mixed_is_determined_by_its_generator_and_stills_are_its_frames(one: MovingMnistSequences) -> None:
    indices = torch.arange(32)
    first, again, other = (one.mixed("validation", indices, generator(seed)) for seed in (5, 5, 6))
    assert torch.equal(first.frames, again.frames) and torch.equal(first.activity, again.activity)
    assert not torch.equal(first.activity, other.activity)
    for count, chosen in ((3, [0, 4, 8]), (1, [0]), (20, range(9))):
        assert torch.allclose(
            one.stills("validation", indices, count, generator(5)), first.frames[:, list(chosen)], atol=1e-6
        )


def test_a_batch_equals_its_sequences(two: MovingMnistSequences) -> None:
    indices, which = torch.tensor([4, 400, 1999]), torch.tensor([0, 5, 7])
    batch = two.single("validation", indices, which)
    for number in range(3):
        alone = two.single("validation", indices[number : number + 1], which[number : number + 1])
        assert torch.allclose(alone.frames[0], batch.frames[number], atol=1e-6)
        assert torch.equal(alone.activity[0], batch.activity[number])


def boxes(frame: Tensor, corner: tuple[int, int]) -> Tensor:
    column, row = corner
    return frame[..., row : row + 28, column : column + 28]


def test_several_digits_stand_towards_the_corners() -> None:
    data, indices = load(digits=4), torch.arange(1000, 1020)
    corners = torch.tensor([0, 6, 0, 6, 6, 0, 6, 0, 6, 0, 0, 6, 0, 6, 6, 0]).float()  # none over another
    apart = data.in_states("train", indices, corners.expand(20, 1, 16))[:, 0, 0]
    own = [boxes(apart, corner) for corner in ((0, 0), (36, 36), (36, 0), (0, 36))]
    assert torch.equal(own[0], digits("train", indices.tolist()))
    trained = {image.tobytes() for image in read_training_digits(None).images[:8000]}
    for four in zip(*own, strict=True):
        shown = {(image * 255).round().byte().numpy().tobytes() for image in four}
        assert shown <= trained and len(shown) == 4
    expected = torch.zeros(20, 64, 64)
    for image, corner in zip(own, ((9, 9), (27, 27), (27, 9), (9, 27)), strict=True):  # 3 unit steps off the centre
        place = boxes(expected, corner)
        place.copy_(torch.maximum(place, image))
    assert torch.equal(data.images("train", indices)[:, 0], expected)


def test_the_frame_shows_the_brightest_digit_at_every_pixel(
    one: MovingMnistSequences, two: MovingMnistSequences
) -> None:
    indices = torch.tensor([0, 17, 1999])
    images = two.images("validation", indices)[:, 0]
    first = boxes(images, (9, 9))
    # Far apart, the two digits can be told from each other
    away = torch.tensor([0, 6, 0, 6, 6, 0, 6, 0]).float()  # to the upper left and the lower right corner
    apart = two.in_states("validation", indices, away.expand(3, 1, 8))[:, 0, 0]
    own, further = boxes(apart, (0, 0)), boxes(apart, (36, 36))
    assert torch.equal(own, digits("validation", indices.tolist()))
    assert torch.equal(first[:, :10, :], own[:, :10, :])
    held_out = {image.tobytes() for image in read_training_digits(None).images[8000:]}
    for image, digit in zip(own, further, strict=True):
        assert (digit * 255).round().byte().numpy().tobytes() in held_out and not torch.equal(image, digit)
    assert apart.sum() == pytest.approx(float(own.sum() + further.sum()), rel=1e-6)
    # On top of each other, shifted by fractions, they show the brighter one
    visited = torch.tensor([0.3, 0.0, 0.0, 1.1, 0.0, 0.9, 0.5, 0.0]).expand(3, 1, 8)
    alone = [one.in_states("validation", indices, visited[..., :4])[:, 0, 0]]
    shown = two.in_states("validation", indices, visited)[:, 0, 0]
    alone.append(translated(further[:, None], torch.full((3, 1, 1, 2), 18.0) + torch.tensor([-2.7, 1.5]), 64)[:, 0, 0])
    assert torch.allclose(shown, torch.maximum(*alone), atol=1e-5)
    assert (alone[0].minimum(alone[1]) > 0.5).any()


def test_the_digits_of_a_frame_move_on_their_own(two: MovingMnistSequences) -> None:
    indices = torch.arange(200)
    activity = two.mixed("train", indices, generator(3)).activity
    assert activity.shape == (200, 8, 8) and ((activity > 0).sum((0, 1)) > 50).all()
    for way in range(4):
        which = torch.full((2,), 4 + way)
        frames, single = two.single("train", indices[:2], which)
        assert torch.equal(single, torch.eye(8)[which][:, None].expand(2, 8, 8))
        moved_pixels = (frames.double().sum((-2, -1)) * centroid(frames).movedim(-1, 0)).movedim(0, -1).diff(dim=1)
        assert ((moved_pixels * WAYS[way]).sum(-1) > 0).all()
    apart = two.in_states("train", indices[:2], torch.tensor([0, 6, 0, 6, 6, 0, 6, 0]).float().expand(2, 1, 8))
    after = two.in_states("train", indices[:2], torch.tensor([0, 6, 0, 6, 6, 0, 5, 0]).float().expand(2, 1, 8))
    assert torch.equal(boxes(apart, (0, 0)), boxes(after, (0, 0)))  # the first digit stays
    assert torch.equal(boxes(apart, (36, 36)), boxes(after, (36, 33)))  # the second is 3 pixels further up


def test_every_digit_is_paired_once_with_another_one(two: MovingMnistSequences) -> None:
    away = torch.tensor([0, 6, 0, 6, 6, 0, 6, 0]).float().expand(2000, 1, 8)
    frames = two.in_states("validation", torch.arange(2000), away)[:, 0, 0]
    images = (boxes(frames, (36, 36)) * 255).round().byte().numpy()
    numbers = {image.tobytes(): number for number, image in enumerate(read_training_digits(None).images[8000:])}
    partners = [numbers[image.tobytes()] for image in images]
    assert sorted(partners) == list(range(2000)) and all(own != other for own, other in enumerate(partners))
    assert partners[:5] == [1416, 762, 1719, 134, 204]  # in every version


def test_moves_on_request(one: MovingMnistSequences) -> None:
    indices = torch.tensor([8])
    moves = torch.tensor([[2.0, 0, 0, 0], [0, 0.5, 0, 2], [-1, 0, 0, 0]])
    frames, activity = moved(one, "train", indices, moves)
    corners = centroid(frames[0, :, 0]) - centroid(digits("train", [8]))
    expected = torch.tensor([[18.0, 18], [24, 18], [22.5, 12], [19.5, 12]])
    assert (corners - expected).abs().max() < 1e-3 and torch.equal(activity[0], moves)
    assert renderable(one, "train", indices, torch.tensor([[6.0, 0, 0, 6]]))
    for beyond in ([6.1, 0, 0, 0], [0, 0, 6.1, 0], [0, 6.1, 0, 0], [0, 0, 0, 6.1]):
        assert not renderable(one, "train", indices, torch.tensor([beyond]))
    with pytest.raises(
        UserError, match="Moving MNIST does not show, expected digits at most 6 unit steps from the centre"
    ):
        moved(one, "train", indices, torch.tensor([[7.0, 0, 0, 0]]))


def write_digits(folder: Path, part: str, count: int) -> np.ndarray:
    images = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
    header = struct.pack(">4I", 0x0803, *images.shape)
    (folder / f"{part}-images-idx3-ubyte").write_bytes(header + images.tobytes())
    (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x0801, count) + bytes(count))
    return images


def test_files_of_the_user_and_their_test_split(tmp_path: Path) -> None:
    train, test = write_digits(tmp_path, "train", 10), write_digits(tmp_path, "t10k", 3)
    data = load(root=tmp_path)
    assert [data.size(split) for split in ("train", "validation", "test")] == [8, 2, 3]
    for split, images in (("train", train[:8]), ("validation", train[8:]), ("test", test)):
        frames = data.images(split, torch.arange(len(images)))[:, 0, 18:46, 18:46]
        np.testing.assert_array_equal((frames * 255).round().byte().numpy(), images)
    assert load(root=tmp_path, digits=4).images("validation", torch.arange(2)).shape == (2, 1, 64, 64)


def test_what_is_not_there(one: MovingMnistSequences, tmp_path: Path) -> None:
    zero = torch.tensor([0])
    for use in (one.size, lambda split: one.images(split, zero), lambda split: one.mixed(split, zero, generator())):
        with pytest.raises(UserError, match="embedded digits have no test split"):
            use("test")
    for bad in (-1, 8000):
        with pytest.raises(IndexError):
            one.images("train", torch.tensor([bad]))
    with pytest.raises(IndexError):
        one.single("train", zero, torch.tensor([4]))
    with pytest.raises(UserError, match="^data.root: found no train-images"):
        load(root=tmp_path)
