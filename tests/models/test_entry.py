"""Frames that enter a trained model: what can be used is used, everything else is one line."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from ffrl.core.errors import UserError
from ffrl.models.baselines.vae import MODE
from stf.registry import CONFIGS
from stf.run import build_model

FRAMES = torch.rand(2, 9, 3, 28, 28, generator=torch.Generator().manual_seed(0))


def models():
    for mode in ("unsupervised", "weak", "msp"):
        yield build_model(CONFIGS[mode](), (3, 28, 28)).eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (FRAMES.movedim(2, -1), r"found images of shape \(28, 28, 3\), expected \(3, 28, 28\)"),
        (FRAMES * 255, r"found values in .*, expected values in \[0, 1\]"),
        (FRAMES * float("nan"), "found 42336 NaN"),
        ((FRAMES * 255).int(), "found values of type torch.int32"),
        ("frames", "found str, expected a tensor or an array"),
    ],
)
def test_what_cannot_be_used_is_one_line(frames, message: str) -> None:
    for model in models():
        for method in filter(None, (model.encode, model.infer, getattr(model, "activity", None))):
            with pytest.raises(UserError, match=f"^frames: {message}"):
                method(frames)


def test_one_sequence_is_no_batch() -> None:
    for model in models():
        with pytest.raises(UserError, match=r"found shape \(9, 3, 28, 28\), expected \(B, T\+1, 3, 28, 28\)"):
            model.infer(FRAMES[0])
        with pytest.raises(UserError, match="^frames: found sequences of 1 frames, expected at least 2"):
            model.infer(FRAMES[:, :1])


def test_bytes_arrays_and_double_precision_are_used() -> None:
    for model in models():
        levels = (FRAMES * 255).round().byte()
        wanted = model.encode(levels.float() / 255)
        for frames in (
            levels,
            levels.numpy(),
            levels.double() / 255,
            (levels.double() / 255).numpy(),
            np.asarray(levels),
        ):
            assert torch.allclose(model.encode(frames), wanted, atol=1e-5)
        assert model.encode(levels[0, 0]).shape == wanted[0, 0].shape
        assert isinstance(model.infer(levels).numpy(), np.ndarray)


def test_rounding_outside_the_unit_interval_is_clipped() -> None:
    for model in models():
        frames = FRAMES.clone()
        frames[0, 0, 0, 0, 0] = 1 + 1e-6
        assert torch.equal(model.encode(frames), model.encode(frames.clamp(0, 1)))


def test_training_and_derivatives_are_left_alone() -> None:
    model = MODE.build(MODE.config(), (3, 28, 28))
    assert model.train().encode(2 * FRAMES).requires_grad
    frames = FRAMES.clone().requires_grad_()
    model.eval().encode(frames).sum().backward()
    assert frames.grad is not None and torch.func.grad(lambda x: model.encode(x).sum())(FRAMES).shape == FRAMES.shape
    assert partial(model.encode, FRAMES)().shape == (2, 9, 48)
