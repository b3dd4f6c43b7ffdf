"""Every mode on vectors: finite losses and gradients with missing values, which say nothing, and speeds in them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from vector_tools import vector_data

from ffrl.data.spec import DataSpec
from ffrl.data.synthesis.activity_process import single_activity
from ffrl.models.interface import SequenceModel
from ffrl.objective.elbo import elbo_terms
from stf.registry import MODES, default_config

DATA = vector_data(missing=0.2)
BATCH, STEPS = 3, 4


def build(mode: str) -> SequenceModel:
    torch.manual_seed(0)
    config = default_config(mode, spec=DataSpec.of(DATA))
    model = replace(config.model, width=16, depth=1, potential_width=8)
    config = replace(config, model=model, data=replace(config.data, num_steps=STEPS), batch_size=BATCH)
    return MODES[mode].build(config, DATA.image_shape, features=DATA.features)


def frames() -> Tensor:
    x = DATA.mixed("train", torch.arange(BATCH)).frames
    x[1, 2] = math.nan  # all of a frame
    return x


def terms(model: SequenceModel, x: Tensor, progress: float) -> dict[str, Tensor]:
    phase = model.phase(progress)
    given = model.activity_kind.given and model.trained.sequences == "labelled" and not phase.still
    told = single_activity(torch.arange(BATCH) % 3, STEPS, 3) if given else None
    noise = model.draw_noise(BATCH, STEPS, torch.Generator().manual_seed(1))
    return elbo_terms(model(x, noise, phase, told), x, model.trained.objective)


@pytest.mark.parametrize("mode", MODES)
def test_missing_values_leave_losses_and_gradients_finite(mode: str) -> None:
    model, x = build(mode).train(), frames()
    for progress in (0.0, 0.99):
        found = terms(model, x, progress)
        model.zero_grad()
        found["loss"].backward()
        assert all(value.isfinite() for value in found.values())
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        assert gradients and all(bool(gradient.isfinite().all()) for gradient in gradients)
    assert model.frame_kind.log_noise.grad.abs().min() > 0, "the noise of every feature is learned"


@pytest.mark.parametrize("mode", MODES)
def test_what_is_said_of_a_missing_value_does_not_change_the_loss(mode: str) -> None:
    model, x = build(mode), frames()
    outputs = model(x, model.draw_noise(BATCH, STEPS, torch.Generator().manual_seed(1)), model.phase(0.0))
    outputs = replace(outputs, logits=outputs.logits.detach().requires_grad_())
    loss = elbo_terms(outputs, x, model.trained.objective)["loss"]
    (gradient,) = torch.autograd.grad(loss, outputs.logits)
    assert torch.equal(gradient[..., 0] == 0, x[..., 0].isnan()) and torch.equal(
        gradient[..., 1] == 0, x[..., 1].isnan()
    )
    assert bool((gradient[1, 2] == 0).all())


@pytest.mark.parametrize("mode", [mode for mode in MODES if not build(mode).activity_kind.given])
def test_a_missing_value_between_known_ones_does_not_look_like_motion(mode: str) -> None:
    model = build(mode).eval()
    x = frames()[:1].nan_to_num(0.5)
    x[:, :, 0] = torch.linspace(-1, 1, STEPS + 1)
    holes = x.clone()
    holes[0, 2, 0] = math.nan
    with torch.no_grad():
        torch.testing.assert_close(model.infer(holes), model.infer(x))


@pytest.mark.parametrize("mode", MODES)
def test_frames_are_decoded_in_their_own_units(mode: str) -> None:
    model, x = build(mode).eval(), frames()
    with torch.no_grad():
        z = model.encode(x)
        decoded = model.decode(z)
    assert z.isfinite().all() and decoded.shape == x.shape and decoded.dtype == torch.float64
    assert (decoded[..., 0].mean() - 1000).abs() < 30 and bool(((decoded[..., 2] >= 0) & (decoded[..., 2] < 360)).all())
