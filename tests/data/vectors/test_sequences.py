"""Clips of vectors in memory against brute-force windows, what is held out, and every kind of number."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from vector_tools import NAMES, vector_data, walks

import stf
from ffrl.core.errors import UserError
from ffrl.data.vectors.sequences import vectors

NAN = math.nan


def recording(length: int, count: int = 2, start: int = 0) -> np.ndarray:
    """Vectors none of whose values occurs twice."""
    return start + np.arange(length * count, dtype=np.float64).reshape(length, count)


def whole(data, split: str = "train"):
    return data.mixed(split, torch.arange(data.size(split)))


def windows(values: np.ndarray, length: int, hop: int) -> list[np.ndarray]:
    return [values[first : first + length] for first in range(0, len(values) - length + 1, hop)]


@pytest.mark.parametrize("steps", [1, 3, 8])
@pytest.mark.parametrize("hop", [0, 1, 5, 30])
@pytest.mark.parametrize("lengths", [(60,), (61, 9, 25, 13), (9, 9, 9)])
def test_clips_are_the_windows_of_recordings(steps: int, hop: int, lengths: tuple[int, ...]) -> None:
    values = [recording(length, start=1000 * place) for place, length in enumerate(lengths)]
    data = vectors(values if len(values) > 1 else values[0], num_steps=steps, hop=hop, validation=0.3)
    hop = hop or max(1, (steps + 1) // 2)
    found = {split: whole(data, split).frames.numpy() for split in ("train", "validation")}
    seen = {split: set(frames[..., 0].ravel().tolist()) for split, frames in found.items()}
    assert seen["train"] and seen["validation"] and not seen["train"] & seen["validation"], "no vector is in both"
    if len(lengths) == 1:
        border = int(min(seen["validation"])) // 2
        parts = {"train": [values[0][:border]], "validation": [values[0][border:]]}
    else:
        held = {place for place in range(len(lengths)) if 1000 * place in seen["validation"]}
        parts = {
            "train": [one for place, one in enumerate(values) if place not in held],
            "validation": [values[place] for place in sorted(held)],
        }
    for split, those in parts.items():
        expected = np.stack([window for one in those for window in windows(one, steps + 1, hop)])
        assert np.array_equal(found[split], expected) and data.size(split) == len(expected)
    trained = np.concatenate(parts["train"])
    assert [one.mean for one in data.features.each] == pytest.approx(trained.mean(0), rel=1e-12)
    assert [one.scale for one in data.features.each] == pytest.approx(trained.std(0), rel=1e-12)


def test_activity_stays_with_its_steps() -> None:
    values = [recording(20, start=0), recording(30, start=1000), recording(11, start=2000)]
    speeds = [np.diff(one[:, :1] ** 2, axis=0) for one in values]
    for data in (vectors(values, speeds, num_steps=4, hop=3), vectors(values[1], speeds[1], num_steps=4)):
        for split in ("train", "validation"):
            batch = whole(data, split)
            assert batch.activity.dtype == torch.float32 and batch.activity.shape == (data.size(split), 4, 1)
            assert torch.allclose(batch.activity.double(), batch.frames[..., :1].square().diff(dim=1))
    clips = np.stack([recording(5, start=100 * place) for place in range(6)])
    data = vectors(clips, np.arange(24).reshape(6, 4, 1), unit_steps=("a metre",))
    assert data.num_steps == 4 and data.transformations == ("transformation 1",) and data.unit_steps == ("a metre",)
    assert torch.equal(whole(data).activity[:, 0, 0], whole(data).frames[:, 0, 0].float() / 25)


def test_first_frames_and_stills_are_those_of_the_clips() -> None:
    data = vector_data()
    clips = torch.tensor([3, 0])
    frames = data.mixed("train", clips).frames
    assert torch.equal(data.images("train", clips).nan_to_num(), frames[:, 0].nan_to_num())
    assert torch.equal(data.stills("train", clips, 2).nan_to_num(), frames[:, [0, 4]].nan_to_num())


def test_what_data_say_of_themselves() -> None:
    data = vector_data(missing=0.2)
    share = whole(data).frames.isnan().double().mean().item()
    assert data.about == (
        f"8 train, 8 validation clips of 5 frames, activity known, vectors with 3 features, "
        f"{share:.1%} of the values missing"
    ).replace("5 frames, activity known, vectors with 3 features", "5 vectors with 3 features, activity known")
    assert data.image_shape == (3,) and data.features.names == NAMES and data.features.missing
    assert not vector_data(missing=0.0).features.missing


def test_what_is_held_out_may_be_given() -> None:
    values, others = walks(6), walks(4, seed=5)
    data = vectors(values, validation=others)
    assert np.array_equal(whole(data).frames, values) and np.array_equal(whole(data, "validation").frames, others)
    assert [one.mean for one in data.features.each] == pytest.approx(values.mean((0, 1)))
    known = vectors(values, np.ones((6, 4, 2)), validation=(others, np.zeros((4, 4, 2))))
    assert whole(known).activity.all() and not whole(known, "validation").activity.any()
    for activity, validation in ((None, (others, np.ones((4, 4, 2)))), (np.ones((6, 4, 2)), others)):
        with pytest.raises(UserError, match="^validation: found activity for some sequences only"):
            vectors(values, activity, validation=validation)


def test_every_kind_of_number_is_taken_as_it_is() -> None:
    values = np.random.default_rng(0).integers(0, 2, (8, 9, 3))
    expected = whole(vectors(values)).frames
    assert expected.dtype == torch.float64
    kinds = [values.astype(kind) for kind in ("?", "u1", "<i2", ">i4", "f2", ">f4", ">f8", "g")]
    kinds += [torch.as_tensor(values).bfloat16(), torch.as_tensor(values).float().requires_grad_()]
    kinds += [np.asfortranarray(values), values[:, ::-1][:, ::-1]]
    for other in kinds:
        assert torch.equal(whole(vectors(other)).frames, expected)
    assert torch.equal(whole(vectors(values.tolist(), num_steps=8)).frames, expected), "a list of recordings"
    masked = np.ma.masked_array(values, values == 1)
    masked[:, 0] = 5
    assert torch.equal(whole(vectors(masked)).frames.isnan()[:, 1:], expected[:, 1:] == 1), "masked values are missing"


def test_a_name_for_every_number_that_cannot_be_used() -> None:
    assert stf.data.vectors is vectors
    good, speeds = walks(6), np.ones((6, 4, 2))
    objects = np.array([[1, None], [2, 3]], dtype=object)
    infinite = good.copy()
    infinite[-1, 2, 0] = -np.inf
    mixed = [speeds[0], *speeds[1:, :, :1]]
    ragged = [[[1, 2], [3]], [[1, 2], [3, 4]]]
    cases: list[tuple[str, tuple, dict]] = [
        (r"^values: found values of type complex128, expected numbers", (good + 1j,), {}),
        (r"^values: found values of type complex128", (torch.as_tensor(good) + 1j,), {}),
        (r"^values: found values of type object", (objects,), {}),
        (r"^values: found values of type <U1", (np.array([["a", "b"]]),), {}),
        (r"^values: found values of type datetime64", (np.zeros((9, 2), "M8[s]"),), {}),
        (r"^values: found list, expected an array of numbers", (ragged,), {}),
        (r"^values: found str|^values: found values of type <U7", ("a.npy !",), {}),
        (r"^values: found shape \(\), expected \(S, F\) or \(N, T\+1, F\)", (3.0,), {}),
        (r"^values: found shape \(0,\)", ([],), {}),
        (r"^values: found shape \(0, 3\)", (np.zeros((0, 3)),), {}),
        (r"^values: found shape \(6, 5, 0\)", (good[..., :0],), {}),
        (r"^values: found shape \(1, 6, 5, 3\)", (good[None],), {}),
        (r"^values\[1\]: found shape \(5,\), expected \(S, F\), none", ([good[0], good[0, :, 0]],), {}),
        (r"^values: found '1 vectors', expected at least 9", (good[0, :1],), {}),
        (r"^values: found 'sequences of one vector', expected at least 2", (good[:, :1],), {}),
        (r"^values\[1\]: found '2 features', expected 3, as before", ([good[0], good[0, :, :2]],), {"num_steps": 2}),
        (r"^values\[5\]: found 'infinite values in vector 3', expected numbers, or NaN", (infinite,), {}),
        (r"^values: found one recording with 5 frames, expected at least 10", (good[0],), {"num_steps": 4}),
        (r"^values\[0\]: found '5 vectors', expected at least 6", (good,), {"num_steps": 5}),
        *((r"^num_steps: found .*, expected an integer of at", (good,), {"num_steps": n}) for n in (-1, 2.5, "4")),
        *((r"^hop: found .*, expected an integer of at least 0", (good,), {"hop": hop}) for hop in (-1, 0.5)),
        *((r"^validation: found .*, expected a share", (good,), {"validation": v}) for v in (0, 1, 1.5, -1, NAN)),
        (r"^validation: found values of type object", (good,), {"validation": None}),
        (r"^validation\[0\]: found '2 features', expected 3", (good,), {"validation": good[..., :2]}),
        (r"^features: found .*, expected 3 different names", (good,), {"features": ("x", "y", "x")}),
        (r"^periodic: found 'z', expected one of x, y, heading", (good,), {"features": NAMES, "periodic": {"z": 1}}),
        (r"^activity: found shape \(6, 5, 2\), expected \(6, 4, J\)", (good, np.ones((6, 5, 2))), {}),
        (r"^activity: found shape \(6, 4\), expected \(6, 4, J\)", (good, speeds[..., 0]), {}),
        (r"^activity: found 48 values that are not finite", (good, speeds * NAN), {}),
        (r"^activity: found 'complex values', expected speeds", (good, speeds + 1j), {}),
        (r"^activity: found str", (good, "none"), {}),
        (r"^activity: found '2 arrays', expected 6, one per recording", (list(good), list(speeds[:2])), {}),
        (r"^activity\[1\]: found shape \(3, 2\), expected \(4, J\)", (list(good[:2]), [speeds[0], speeds[1, 1:]]), {}),
        (r"^activity\[0\]: found shape \(\)", (list(good), 3), {}),
        (r"^values\[1\]: found 'activity of 1 transformations', expected", (list(good), mixed), {"num_steps": 4}),
        (r"^transformations: found .*, expected 2 different names", (good, speeds), {"transformations": ("turn",)}),
        (r"^unit_steps: found .*, expected one per name", (good, speeds), {"unit_steps": ("1",)}),
    ]  # fmt: skip
    for message, arguments, options in cases:
        with pytest.raises(UserError, match=message) as raised:
            vectors(*arguments, **options)
        assert "\n" not in str(raised.value)


def test_a_feature_that_does_not_vary_in_training_is_refused_by_name() -> None:
    values = np.stack([recording(9, start=place) for place in range(5)])
    values[:4, :, 1] = 7.0
    with pytest.raises(UserError, match="^feature 2: found '7 throughout the training data'"):
        vectors(values[:4], validation=values[4:])
    values[:4, :, 1] = NAN
    with pytest.raises(UserError, match="^feature 2: found 'no values in the training data'"):
        vectors(values[:4], validation=values[4:])
    values = np.stack([recording(9, start=place) for place in range(5)])
    values[0] = NAN
    data = vectors(values, validation=values[1:])
    assert data.features.missing and whole(data).frames[0].isnan().all(), "a recording may be without any value"


def test_numbers_of_numpy_are_numbers() -> None:
    data = vectors(recording(40), num_steps=np.int64(4), hop=np.int32(2), validation=np.float32(0.2))
    assert data.size("train") == 13 and data.num_steps == 4
