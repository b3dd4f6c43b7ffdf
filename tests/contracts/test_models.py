"""What every mode promises, those of installed packages too: one interface, pure passes, bounds, checkpoints."""

from __future__ import annotations

import ast
import inspect
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ffrl.config import RunConfig
from ffrl.core.evaluation_mode import evaluation_mode
from ffrl.data.synthesis.activity_process import single_activity
from ffrl.evaluation.likelihood.estimate import bounds, draw, log_weights
from ffrl.evaluation.likelihood.pixels import PixelLikelihood
from ffrl.models.activity import ActivityKind, Phase
from ffrl.models.interface import (
    Calibrated,
    FrameLatents,
    Probabilistic,
    SequenceModel,
    Trained,
    WithFields,
    WithPosterior,
)
from ffrl.objective.elbo import elbo_terms
from ffrl.training.checkpoint import TrainingState, find_checkpoint, load_weights, save_checkpoint
from stf.registry import CONFIGS, MODES

IMAGE, STEPS, BATCH, COUNT = (2, 8, 8), 4, 3, 2
MOVING = 0.99

every_mode = pytest.mark.parametrize("mode", MODES)


def small(mode: str) -> RunConfig:
    """The mode's defaults for two transformations, with small networks."""
    config = CONFIGS[mode]().for_transformations(COUNT)
    model = replace(config.model, width=16, depth=1, potential_width=8)
    return replace(config, model=model, data=replace(config.data, num_steps=STEPS), batch_size=BATCH)


def build(mode: str, seed: int = 0) -> SequenceModel:
    torch.manual_seed(seed)
    return MODES[mode].build(small(mode), IMAGE)


def frames_of(seed: int = 0) -> Tensor:
    return torch.rand(BATCH, STEPS + 1, *IMAGE, generator=torch.Generator().manual_seed(seed))


def told(model: SequenceModel) -> Tensor | None:
    """The activity that training is told, if it is."""
    given = model.activity_kind.given and model.trained.sequences == "labelled"
    return single_activity(torch.arange(BATCH) % COUNT, STEPS, COUNT) if given else None


def activity_for(model: SequenceModel) -> Tensor:
    if model.activity_kind.given:
        return single_activity(torch.arange(BATCH) % COUNT, STEPS, COUNT)
    return model.infer(frames_of())


def run(model: SequenceModel, progress: float, seed: int = 1):
    noise = model.draw_noise(BATCH, STEPS, torch.Generator().manual_seed(seed))
    phase = model.phase(progress)
    return model(frames_of(), noise, phase, None if phase.still else told(model))


@every_mode
def test_what_it_says_of_itself(mode: str) -> None:
    model = build(mode)
    assert isinstance(model, SequenceModel) and CONFIGS[mode]().mode == mode
    assert model.trained == Trained.by(small(mode)) and model.own_modules == {}
    assert (model.image_shape, model.num_steps, model.latent_dim) == (IMAGE, STEPS, small(mode).model.latent_dim)
    assert isinstance(model.activity_kind, ActivityKind) and model.num_controls >= 1
    if model.activity_kind.of_fields:
        assert model.num_controls % model.num_fields == 0
    assert model.activity_kind.given == small(mode).needs_transformations
    assert isinstance(model.prediction, str) and model.prediction
    assert all(isinstance(value, str) for value in model.summary().values())
    own = {id(parameter) for parameter in model.parameters()}
    assert {id(parameter) for parameter in model.field_parameters()} <= own
    assert bool(list(model.field_parameters())) == isinstance(model, WithFields)


@every_mode
def test_no_model_knows_the_configuration_of_its_run(mode: str) -> None:
    model = build(mode)
    for module in model.modules():
        assert not any(isinstance(value, RunConfig) for value in vars(module).values())


@every_mode
@torch.no_grad()
def test_shapes_and_ranges(mode: str) -> None:
    model, frames = build(mode).eval(), frames_of()
    codes = model.encode(frames)
    assert codes.shape == (BATCH, STEPS + 1, model.latent_dim)
    torch.testing.assert_close(model.encode(frames[0, 0]), codes[0, 0], rtol=1e-4, atol=1e-5)
    images = model.decode(codes)
    assert images.shape == frames.shape and (images >= 0).all() and (images <= 1).all()
    assert torch.equal(images, model.decode_logits(codes).sigmoid())
    g = activity_for(model)
    assert g.shape == (BATCH, STEPS, model.num_controls) and g.isfinite().all()
    path = model.flow(codes[:, 0], g)
    assert path.shape == codes.shape and torch.equal(path[:, 0], codes[:, 0])
    assert model.flow(codes[:, 0], g[:, :2]).shape == (BATCH, 3, model.latent_dim)
    torch.testing.assert_close(model.flow(codes[:, 0], g[:, :2]), path[:, :3], rtol=1e-5, atol=1e-6)
    assert model.compose(g, g).shape == g.shape


@every_mode
def test_activity_is_inferred_from_frames_or_given(mode: str) -> None:
    model = build(mode)
    assert list(inspect.signature(model.infer).parameters) == ["frames"]
    if model.activity_kind.given:
        with pytest.raises(ValueError, match="infers no activity"):
            model.infer(frames_of())


@every_mode
def test_training_begins_with_frames_alone(mode: str) -> None:
    model = build(mode)
    first, last = model.phase(0.0), model.phase(MOVING)
    assert isinstance(first, Phase) and first.still and isinstance(last, Phase) and not last.still
    for progress in (0.1, MOVING):
        outputs = run(model, progress)
        assert outputs.logits.shape == (BATCH, STEPS + 1, *IMAGE)
        assert outputs.latents.shape[:2] == (BATCH, STEPS + 1)
        assert outputs.activity.shape == (BATCH, STEPS, model.num_controls)
        assert (outputs.cross_entropy_weight is not None) == model.phase(progress).still
        assert all(value.shape == (BATCH,) for value in (*outputs.activity_kl.values(), *outputs.penalties.values()))


@every_mode
@pytest.mark.parametrize("progress", [0.1, MOVING])
def test_a_pass_is_a_function_of_its_arguments(mode: str, progress: float) -> None:
    model = build(mode).eval()
    before = torch.get_rng_state()
    first, again, other = run(model, progress), run(model, progress), run(model, progress, seed=2)
    assert torch.equal(before, torch.get_rng_state()), "the global random state was touched"
    assert torch.equal(first.logits, again.logits) and torch.equal(first.activity, again.activity)
    random = model.draw_noise(BATCH, STEPS, None).latent.numel() > 0
    assert torch.equal(first.logits, other.logits) != random


@every_mode
def test_the_loss_reaches_every_parameter(mode: str) -> None:
    model = build(mode)
    for progress in (0.1, MOVING):
        loss = elbo_terms(run(model, progress), frames_of(), model.trained.objective)["loss"]
        assert loss.shape == () and loss.isfinite()
        loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            assert parameter.grad.any(), name


@every_mode
def test_sequences_do_not_mix(mode: str) -> None:
    """But where a term is one of the batch, as a discriminator's."""
    model = build(mode).eval()
    noise = model.draw_noise(BATCH, STEPS, torch.Generator().manual_seed(1))
    changed = frames_of()
    changed[1] = torch.rand_like(changed[1])
    first, second = (model(frames, noise, model.phase(MOVING), told(model)) for frames in (frames_of(), changed))
    others = [0, 2]
    for name in ("logits", "latents", "activity"):
        found, expected = getattr(second, name)[others], getattr(first, name)[others]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(first.logits[1], second.logits[1])


@every_mode
def test_weights_survive_a_checkpoint(mode: str, tmp_path: Path) -> None:
    model, other = build(mode), build(mode, seed=1)
    for saved in (model, other):
        saved.eval()
    assert not torch.equal(run(model, MOVING).logits, run(other, MOVING).logits)
    save_checkpoint(tmp_path, model, b"{}", TrainingState({}, {"step": 1}), keep=1)
    load_weights(find_checkpoint(tmp_path), other)
    assert torch.equal(run(model, MOVING).logits, run(other, MOVING).logits)


@every_mode
def test_double_precision_is_kept(mode: str) -> None:
    model, frames = build(mode).double().eval(), frames_of().double()
    noise = model.draw_noise(BATCH, STEPS, torch.Generator().manual_seed(1))
    noise = type(noise)(*(value.double() for value in vars(noise).values()))
    activity = told(model)
    outputs = model(frames, noise, model.phase(MOVING), None if activity is None else activity.double())
    assert outputs.logits.dtype == outputs.latents.dtype == torch.float64


@every_mode
def test_a_model_names_no_device(mode: str) -> None:
    """Neither in its class nor in those above it: what it makes is made where its inputs are."""
    for kind in type(build(mode)).__mro__:
        if not kind.__module__.startswith(("torch", "builtins", "abc", "typing")):
            body = ast.parse(inspect.getsource(inspect.getmodule(kind)))
            named = [node for node in ast.walk(body) if isinstance(node, ast.Constant)]
            named = [node for node in named if node.value in ("cuda", "mps")]
            assert not named, kind


@every_mode
@torch.no_grad()
def test_bounds_where_there_is_a_likelihood(mode: str) -> None:
    model = build(mode).eval()
    if not isinstance(model, Probabilistic):
        assert not isinstance(model, FrameLatents)
        return
    means, log_variances = model.posterior(frames_of())
    assert means.shape == log_variances.shape and means.shape[:2] == (BATCH, STEPS + 1)
    assert not model.conditional() or model.activity_kind.given
    given = activity_for(model) if model.activity_kind.given else None
    draws = draw(model, frames_of(), 7, torch.Generator().manual_seed(0), given)
    again = draw(model, frames_of(), 7, torch.Generator().manual_seed(0), given)
    assert torch.equal(draws.z0, again.z0) and torch.equal(draws.activity.g, again.activity.g)
    weights = log_weights(model, frames_of(), draws, {"laplace": PixelLikelihood("laplace", 0.3)})
    found = bounds(weights, STEPS + 1)["laplace"]
    assert found["elbo"].shape == (BATCH,) and found["elbo"].isfinite().all()
    assert (found["elbo"] <= found["iwae"] + 1e-9).all()
    assert (found["iwae"] <= PixelLikelihood("laplace", 0.3).upper_bound(2 * 8 * 8)).all()
    if isinstance(model, FrameLatents):
        latents = means.double()
        assert model.log_latent_prior(latents).shape == (BATCH,)
        assert model.codes(means, activity_for(model)).shape == (BATCH, STEPS + 1, model.latent_dim)


@every_mode
@torch.no_grad()
def test_fields_where_they_drive_the_latents(mode: str) -> None:
    model = build(mode).eval()
    if not isinstance(model, WithFields):
        return
    z = model.encode(frames_of()[:, 0])
    g = torch.rand(BATCH, model.num_controls)
    first, second = model.fields(z, 0.5)
    assert first.shape == second.shape == (BATCH, model.num_fields, model.latent_dim)
    assert model.log_density_change(z, g, 0.5).shape == (BATCH,)
    still = model.flow(z, torch.zeros(BATCH, STEPS, model.num_controls))
    assert torch.equal(still, z.unsqueeze(1).expand_as(still))


@every_mode
@torch.no_grad()
def test_a_posterior_over_activity_agrees_with_what_is_inferred(mode: str) -> None:
    model = build(mode).eval()
    if not isinstance(model, WithPosterior):
        return
    found, shape = model.activity(frames_of()), (BATCH, STEPS, model.num_controls)
    assert found.probability.shape == found.speed.shape == found.deviation.shape == shape
    assert (found.probability >= 0).all() and (found.probability <= 1 + 1e-5).all() and (found.deviation >= 0).all()
    inferred = model.infer(frames_of())
    if model.activity_kind.free:
        assert torch.equal(inferred != 0, found.probability > 0.5)


@every_mode
def test_what_is_left_to_the_end_changes_how_it_predicts(mode: str) -> None:
    model = build(mode)
    if not isinstance(model, Calibrated):
        return

    class Pictures:
        device, prescribed = torch.device("cpu"), True

        def single(self, split: str, indices: Tensor, which: Tensor):
            made = torch.rand(len(indices), STEPS + 1, *IMAGE, generator=torch.Generator().manual_seed(int(which[0])))
            return type("Batch", (), {"frames": made})

    z, g = model.encode(frames_of()[:, 0]).detach(), activity_for(model)
    with evaluation_mode(model):
        before = model.flow(z, g)
        model.calibrate(Pictures(), images=20)
        assert not torch.allclose(model.flow(z, g), before)


def test_a_file_among_the_baselines_is_a_mode_by_that_alone() -> None:
    folder = Path(inspect.getfile(MODES["vae"].config)).parent
    files = {path.stem.replace("_", "-") for path in folder.glob("*.py") if not path.stem.startswith("_")}
    assert files == set(MODES.built_in) - {"unsupervised", "supervised", "weak", "sta"}
